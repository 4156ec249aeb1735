"""Fresh noise at every step, for the gradient only."""

from __future__ import annotations

import torch

from linbp.attack.context import Context
from linbp.attack.parts.transform.base import Transform
from linbp.randomness import Draws
from linbp.registry import part
from linbp.validation import number

__all__ = ["UniformNoise"]


@part("transform", "noise")
class UniformNoise(Transform):
    """The gradient is taken at the iterate plus fresh noise, drawn uniformly from the ball for each image and step.

        g = gradient at x + u,   u ~ U(-radius eps, radius eps)

    This is what the released code of the LinBP paper (NeurIPS 2020) calls PGD: there is no random start. The noisy
    image is not clipped to [0, 1], as there.

    Args:
        radius: of the noise, in multiples of eps, above 0.
    """

    radius: float = 1.0

    def __post_init__(self) -> None:
        number(self, "radius", least=1e-9)

    def apply(self, images: torch.Tensor, context: Context, draws: Draws, copy: int) -> torch.Tensor:
        """Images plus noise."""
        return images + context.budget.sample(draws, "noise", self.radius)
