"""What every transform is."""

from __future__ import annotations

from typing import Protocol

import torch

from linbp.attack.budget import Budget
from linbp.draws import Draws

__all__ = ["Transform"]


class Transform(Protocol):
    """A differentiable change of the images; the gradient is taken through it, at the image itself."""

    def apply(self, images: torch.Tensor, budget: Budget, draws: Draws) -> torch.Tensor:
        """The changed images.

        Args:
            images: (N, C, H, W) in [0, 1].
            budget: of the batch.
            draws: of this step: one generator an image.
        """
        ...
