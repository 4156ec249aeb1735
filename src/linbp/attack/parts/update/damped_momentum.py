"""Momentum whose steps become shorter where their direction turns."""

from __future__ import annotations

from typing import ClassVar

import torch

from linbp.attack.context import Context
from linbp.attack.parts.update.base import Update, UpdateState
from linbp.attack.parts.update.momentum import MomentumSum
from linbp.registry import part
from linbp.validation import number

__all__ = ["DampedMomentum"]


@part("update", "damped-mi")
class DampedMomentum(Update):
    """Momentum with a step size for each value, which shrinks whenever the sum's sign there changes.

        m <- decay m + g / |g|_1,    x <- project(x + step M sign(m))
        M <- M where sign(m) is what it was in the step before, else shrink M;    M = 1 in the first step

    GRA's decay indicator: Zhu et al.: Boosting Adversarial Transferability via Gradient Relevance Attack, ICCV 2023:
    decay 1, shrink 0.94. Points between the 8-bit levels are rounded at the end, as always. In L2 the values of the
    step are multiplied by M.

    Args:
        decay: how much of the sum is kept from step to step, above 0.
        shrink: what M is multiplied by, above 0 and below 1.
    """

    decay: float = 1.0
    shrink: float = 0.94

    fewest_steps: ClassVar[int] = 2

    def __post_init__(self) -> None:
        number(self, "decay", least=1e-9)
        number(self, "shrink", least=1e-9, most=1 - 1e-9)

    def bind(self, context: Context) -> UpdateState:
        """The sum and the sizes of one batch."""
        return _Damped(self)


class _Damped(MomentumSum):
    def __init__(self, update: DampedMomentum) -> None:
        super().__init__(update.decay)
        self.shrink = update.shrink
        self.sign: torch.Tensor | None = None
        self.size: torch.Tensor | None = None

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        direction = super().direction(gradient)
        sign = direction.sign()
        if self.size is None or self.sign is None:  # as if every value had turned, but for those without a direction
            self.size = torch.where(sign != 0, 1.0, 1 / self.shrink).to(sign.dtype)
        else:
            self.size = torch.where(sign == self.sign, self.size, self.size * self.shrink)
        self.sign = sign
        return direction

    def scaled(self, step: torch.Tensor) -> torch.Tensor:
        assert self.size is not None  # a direction comes before its step
        return step * self.size
