"""What every estimator is."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch

from linbp.attack.context import Context
from linbp.attack.gradient_oracle import GradientOracle
from linbp.errors import RecipeError
from linbp.registry import typed_name

__all__ = ["Estimate", "Estimator", "refuse_one_member"]

Estimate = Callable[[GradientOracle, torch.Tensor], torch.Tensor]
"""Makes one gradient at images (N, C, H, W) from those that the oracle gives; it may keep a state from step to step."""


class Estimator:
    """How many gradients make one.

    Attributes:
        fewest_steps: with fewer steps the estimator is no different from the plain one.
    """

    fewest_steps: ClassVar[int] = 1

    def gradients_per_step(self, members: int) -> int:
        """How many forward and backward passes each image takes in a step, with so many surrogates."""
        raise TypeError(f"{type(self).__name__} counts no gradients.")

    def gradients(self, steps: int, members: int) -> int:
        """How many forward and backward passes each image takes in so many steps."""
        return steps * self.gradients_per_step(members)

    def check_members(self, members: int) -> None:
        """Refuse a number of surrogates with which the estimator would have no effect.

        Raises:
            RecipeError: it does.
        """

    def check_turns(self, turns: int) -> None:
        """Refuse surrogates of whose weights at most so many versions take turns, if the estimator needs more.

        Raises:
            RecipeError: it would have no effect.
        """

    def bind(self, context: Context) -> Estimate:
        """The estimate for one batch, with a fresh state."""
        raise TypeError(f"{type(self).__name__} makes no gradient.")


def refuse_one_member(estimator: Estimator, members: int) -> None:
    """Refuse a single surrogate, for use in `check_members`.

    Raises:
        RecipeError: there is one.
    """
    if members < 2:
        name = typed_name(estimator)
        raise RecipeError(
            f"{name} goes from surrogate to surrogate, and there is only one.",
            f"Give at least two (--surrogate several times; linbp.Ensemble in Python), or leave {name} out.",
        )
