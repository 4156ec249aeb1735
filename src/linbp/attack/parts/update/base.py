"""What every update is."""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

import torch

from linbp.attack.context import Context

__all__ = ["ScalesSteps", "Stateless", "Update", "UpdateState"]


class UpdateState(Protocol):
    """What an update keeps of one batch from step to step."""

    def look_ahead(self, images: torch.Tensor) -> torch.Tensor:
        """Where the next gradient is taken, given where the images are."""
        ...

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        """The direction to step along, given the gradient there; the budget normalises it."""
        ...


@runtime_checkable
class ScalesSteps(Protocol):
    """What an update's state offers besides where steps may be shorter than the whole size, value by value."""

    def scaled(self, step: torch.Tensor) -> torch.Tensor:
        """The step (N, C, H, W) that is taken, given that of the whole size along the last direction."""
        ...


class Stateless:
    """The gradient at the images; nothing is kept."""

    def look_ahead(self, images: torch.Tensor) -> torch.Tensor:
        """The images."""
        return images

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient."""
        return gradient


class Update:
    """How a gradient becomes a step.

    Attributes:
        single_step: whether it is one step of the whole radius.
        fewest_steps: with fewer steps the update is no different from the plain one.
    """

    single_step: ClassVar[bool] = False
    fewest_steps: ClassVar[int] = 1

    def bind(self, context: Context) -> UpdateState:
        """A fresh state for one batch."""
        return Stateless()
