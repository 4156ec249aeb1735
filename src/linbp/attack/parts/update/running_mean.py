"""The mean of all gradients so far."""

from __future__ import annotations

from typing import ClassVar

import torch

from linbp.attack.context import Context
from linbp.attack.image_norms import pointing, summable
from linbp.attack.parts.update.base import Stateless, Update, UpdateState
from linbp.registry import part

__all__ = ["RunningMean"]


@part("update", "running-mean")
class RunningMean(Update):
    """Steps along the mean of all gradients so far, which are not divided by their norms.

        x_(t+1) = project(x_t + step sign(g_0 + ... + g_t))

    ANDA's direction: Fang et al.: Strong Transferable Adversarial Attacks via Ensembled Asymptotically Normal
    Distribution Learning, CVPR 2024, arXiv 2209.11964. It is momentum with decay 1 without the division, so that large
    gradients count more; under cross-entropy they grow while the attack succeeds. The authors' code can draw the last
    direction from a normal distribution around the mean, which it does not do by default, and here not at all.
    """

    fewest_steps: ClassVar[int] = 2

    def bind(self, context: Context) -> UpdateState:
        """The sum of one batch, zero at first."""
        return _Total()


class _Total(Stateless):
    def __init__(self) -> None:
        self.total: torch.Tensor | None = None

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        share = summable(gradient)
        self.total = share if self.total is None else self.total + share
        return pointing(self.total, gradient.dtype)
