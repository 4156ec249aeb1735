"""Cross-entropy and a reward for long changes, PNA's objective."""

from __future__ import annotations

from typing import ClassVar

import torch

from linbp.attack.context import Context
from linbp.attack.parts.objective.base import Features, Measure, Observation
from linbp.attack.parts.objective.cross_entropy import CrossEntropy
from linbp.errors import RecipeError
from linbp.registry import part, typed_name
from linbp.validation import number

__all__ = ["RewardedCrossEntropy"]


@part("objective", "rewarded-ce")
class RewardedCrossEntropy(CrossEntropy):
    """Cross-entropy plus a reward for the length of the change: the further from the clean image, the better.

        ce + reward |d|_2

    with d = x - x0 the change of the image, on the scale of [0, 1], and `ce` in nats; its gradient, d / |d|_2, is 0
    where nothing is changed. Wei et al.: Towards Transferable Adversarial Attacks on Vision Transformers, AAAI 2022,
    arXiv 2109.04176 (`pna-patchout`): 0.1. Their code takes the norm over the whole batch.

    Args:
        reward: for each unit of the length, above 0.
    """

    reward: float = 0.1

    fewest_steps: ClassVar[int] = 2
    before_transforms: ClassVar[bool] = True

    def __post_init__(self) -> None:
        number(self, "reward", least=0)
        if self.reward == 0:
            raise RecipeError(f"{typed_name(self)}(reward=0) is ce.", "Write ce, or leave it out.")

    def bind(self, context: Context, features: Features) -> Measure:
        """The measure of one batch."""
        plain, clean = super().bind(context, features), context.budget.clean

        def measure(observation: Observation) -> torch.Tensor:
            length: torch.Tensor = torch.linalg.vector_norm(observation.images - clean, dim=(1, 2, 3))
            return plain(observation) + self.reward * length

        return measure
