"""What an estimator may ask in one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from linbp.randomness import Draws

__all__ = ["Gradient", "GradientOracle"]

Gradient = Callable[[torch.Tensor, Draws], torch.Tensor]
"""The gradient at images (N, C, H, W), of the same shape, with the draws for its transforms."""


@dataclass(frozen=True, kw_only=True)
class GradientOracle:
    """What an estimator may ask in one step: gradients of the objective at images of its choice.

    Attributes:
        step: its number, from 0.
        draws: of the step.
        iterate: images (N, C, H, W) where the attack stands. An update that looks ahead has the gradient taken
            elsewhere.
        together: the gradient of the objective, of the whole ensemble where there are several surrogates.
        each: the gradient of every surrogate's own objective.
        take_turn: lets each surrogate whose weights take turns have those of a turn, counted from 0 over all steps; at
            first they have those of the step's number.
    """

    step: int
    draws: Draws
    iterate: torch.Tensor
    together: Gradient
    each: tuple[Gradient, ...]
    take_turn: Callable[[int], None] = lambda number: None

    @property
    def members(self) -> int:
        """How many surrogates there are."""
        return len(self.each)

    def gradient(self, images: torch.Tensor, sample: str = "") -> torch.Tensor:
        """The gradient of the objective at images (N, C, H, W).

        Args:
            images: where; one row for each image of the batch.
            sample: a name for one of several gradients of a step, whose transforms draw their own numbers.
        """
        return self.together(images, self.draws.under(sample) if sample else self.draws)

    def member(self, index: int, images: torch.Tensor, sample: str = "") -> torch.Tensor:
        """As `gradient`, of one surrogate's own objective."""
        return self.each[index](images, self.draws.under(sample) if sample else self.draws)
