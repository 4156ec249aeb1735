"""What an objective may ask a surrogate before the first step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from linbp.attack.parts.objective.base import Score
from linbp.graph import Surrogate
from linbp.randomness import Draws

__all__ = ["FeatureOracle"]


@dataclass(frozen=True, kw_only=True)
class FeatureOracle:
    """Feature maps of a surrogate, and gradients with its rule, at images of the objective's choice.

    Attributes:
        surrogate: reads the feature maps that the objective asked for.
        draws: of the batch.
    """

    surrogate: Surrogate
    draws: Draws

    def __call__(self, images: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """The feature maps of images (N, C, H, W), by module path, without gradients."""
        with torch.no_grad():
            return self.surrogate.observe(images)[1]

    def gradients(self, images: torch.Tensor, score: Score) -> Mapping[str, torch.Tensor]:
        """The rule's gradient of a score with respect to each feature map, by module path."""
        return self.surrogate.feature_gradients(images, score)

    def image_gradients(self, images: torch.Tensor, score: Score) -> torch.Tensor:
        """The rule's gradient of a score with respect to the images, without transforms."""
        with torch.enable_grad():
            leaf = images.detach().requires_grad_()
            (found,) = torch.autograd.grad(score(self.surrogate.run(leaf)).sum(), leaf)
        return found
