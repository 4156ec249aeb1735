"""How many gradients make one."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

import torch

from linbp.parts import part

__all__ = ["Estimator", "Gradient", "Plain"]

Gradient = Callable[[torch.Tensor], torch.Tensor]
"""The gradient of the objective at given images, both of shape (N, C, H, W)."""


class Estimator(Protocol):
    """Makes one gradient from one or more."""

    @property
    def gradients_per_step(self) -> int:
        """How many forward and backward passes an estimate takes."""
        ...

    def estimate(self, gradient: Gradient, images: torch.Tensor) -> torch.Tensor:
        """The gradient to step along."""
        ...


@part("estimator", "plain")
class Plain:
    """The gradient at the image itself: one forward and backward pass a step."""

    gradients_per_step: ClassVar[int] = 1

    def estimate(self, gradient: Gradient, images: torch.Tensor) -> torch.Tensor:
        """The gradient at the images."""
        return gradient(images)
