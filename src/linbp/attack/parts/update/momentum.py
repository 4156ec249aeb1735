"""Momentum: a sum of earlier gradients."""

from __future__ import annotations

from typing import ClassVar

import torch

from linbp.attack.context import Context
from linbp.attack.image_norms import absolute_sum, divided, pointing, summable
from linbp.attack.parts.update.base import Stateless, Update, UpdateState
from linbp.registry import part
from linbp.validation import number

__all__ = ["Momentum", "MomentumSum"]


@part("update", "mi")
class Momentum(Update):
    """Momentum: gradients are summed, each divided by its L1 norm, image by image.

        m <- decay m + g / |g|_1,    x <- project(x + step sign(m))

    A gradient of zero adds nothing. Dong et al.: Boosting Adversarial Attacks with Momentum, CVPR 2018, arXiv
    1710.06081, equations 6 and 7; decay 1 is theirs.

    Args:
        decay: how much of the sum is kept from step to step, above 0 (0 would be no momentum).
    """

    decay: float = 1.0

    fewest_steps: ClassVar[int] = 2

    def __post_init__(self) -> None:
        number(self, "decay", least=1e-9)

    def bind(self, context: Context) -> UpdateState:
        """The sum of one batch, zero at first."""
        return MomentumSum(self.decay)


class MomentumSum(Stateless):
    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.total: torch.Tensor | None = None

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        share = divided(summable(gradient), absolute_sum(gradient))
        self.total = share if self.total is None else self.total.mul_(self.decay).add_(share)
        return pointing(self.total, gradient.dtype).clone()
