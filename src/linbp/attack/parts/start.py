"""Where the first step begins."""

from __future__ import annotations

from typing import Protocol

import torch

from linbp.attack.budget import Budget
from linbp.randomness import Draws
from linbp.registry import part
from linbp.validation import number

__all__ = ["RandomStart", "Start"]


class Start(Protocol):
    """Chooses the first iterate."""

    def first(self, budget: Budget, draws: Draws) -> torch.Tensor:
        """Images (N, C, H, W) around the budget's clean ones; the loop projects them onto the ball."""
        ...


@part("start", "random-start")
class RandomStart:
    """Begin at a point drawn uniformly from the ball, for each image of its own.

        x_0 = project(clean + u),   u ~ U(-radius eps, radius eps)

    Madry et al.: Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018, arXiv 1706.06083.

    Args:
        radius: of the ball to draw from, in multiples of eps, above 0 and at most 1.
    """

    radius: float = 1.0

    def __post_init__(self) -> None:
        number(self, "radius", least=1e-9, most=1.0)

    def first(self, budget: Budget, draws: Draws) -> torch.Tensor:
        """Clean images plus noise."""
        return budget.clean + budget.sample(draws, "random-start", self.radius)
