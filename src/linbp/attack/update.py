"""How gradients become a direction; the budget turns the direction into a step of its norm."""

from __future__ import annotations

from typing import ClassVar, Protocol

import torch

from linbp.parts import number, part

__all__ = ["FullStep", "Momentum", "Progress", "Sign", "Update"]


class Progress(Protocol):
    """What an update remembers of one batch from step to step."""

    def look_ahead(self, images: torch.Tensor) -> torch.Tensor:
        """Where the next gradient is taken, given where the images are."""
        ...

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        """The direction to step along, given the gradient there."""
        ...


class Update(Protocol):
    """How a gradient becomes a step.

    Attributes:
        single_step: whether it is one step of the whole radius.
        fewest_steps: with fewer steps the update is no different from the plain one.
    """

    single_step: ClassVar[bool]
    fewest_steps: ClassVar[int]

    def begin(self) -> Progress:
        """A fresh memory for one batch."""
        ...


class _Memoryless:
    def look_ahead(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


@part("update", "sign")
class Sign:
    """A step along the steepest direction of the budget's norm: the gradient's sign, or its Euclidean unit vector.

        x <- project(x + step sign(g))

    Kurakin, Goodfellow, Bengio: Adversarial Examples in the Physical World, ICLR 2017 workshop, arXiv 1607.02533.
    """

    single_step: ClassVar[bool] = False
    fewest_steps: ClassVar[int] = 1

    def begin(self) -> Progress:
        """Nothing is remembered."""
        return _Memoryless()


@part("update", "fgsm")
class FullStep:
    """One step of the whole radius.

        x <- project(x + eps sign(g))

    Goodfellow, Shlens, Szegedy: Explaining and Harnessing Adversarial Examples, ICLR 2015, arXiv 1412.6572.
    """

    single_step: ClassVar[bool] = True
    fewest_steps: ClassVar[int] = 1

    def begin(self) -> Progress:
        """Nothing is remembered."""
        return _Memoryless()


@part("update", "mi")
class Momentum:
    """Momentum: gradients are summed, each divided by its L1 norm, image by image.

        m <- decay m + g / |g|_1,    x <- project(x + step sign(m))

    A gradient of zero adds nothing. Dong et al.: Boosting Adversarial Attacks with Momentum, CVPR 2018, arXiv
    1710.06081, equations 6 and 7; decay 1 is theirs.

    Args:
        decay: how much of the sum is kept from step to step, above 0 (0 would be no momentum).
    """

    decay: float = 1.0

    single_step: ClassVar[bool] = False
    fewest_steps: ClassVar[int] = 2

    def __post_init__(self) -> None:
        number(self, "decay", least=1e-9)

    def begin(self) -> Progress:
        """A sum of zero."""
        return _Sum(self.decay)


class _Sum:
    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.total: torch.Tensor | None = None

    def look_ahead(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        length = gradient.abs().sum(dim=(1, 2, 3), keepdim=True)
        share = gradient / torch.where(length > 0, length, 1)
        self.total = share if self.total is None else self.total.mul_(self.decay).add_(share)
        return self.total.clone()
