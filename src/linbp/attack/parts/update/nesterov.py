"""Nesterov's momentum: the gradient is taken where the sum of earlier ones leads."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from linbp.attack.context import Context
from linbp.attack.image_norms import absolute_sum, divided, pointing, summable
from linbp.attack.parts.update.base import Update, UpdateState
from linbp.registry import part
from linbp.validation import number, one_of

__all__ = ["Nesterov"]

Scale = Literal["step", "l1"]


@part("update", "ni")
class Nesterov(Update):
    """Nesterov's momentum: as momentum, but the gradient is taken ahead of the images, where their sum would lead them.

        g at x + step decay m,    m <- decay m + g / s,    x <- project(x + step sign(m))

    with s = mean |g|, image by image (in L2 the Euclidean norm): as the authors' released code divides, and then the
    point ahead is about a step away. The paper prints s = |g|_1, which makes no difference to momentum, but here it
    moves the point ahead by the small fraction 1 / (C H W) of a step only, to where nothing changes: `scale=l1`.

    The point ahead is not put back into the ball or into [0, 1], as in the released code. A gradient of zero adds
    nothing. Lin et al.: Nesterov Accelerated Gradient and Scale Invariance for Adversarial Attacks, ICLR 2020, arXiv
    1908.06281; decay 1 is theirs; released code: JHL-HUST/SI-NI-FGSM.

    Args:
        decay: how much of the sum is kept from step to step, above 0 (0 would be no momentum).
        scale: `step`: gradients are divided so that the point ahead is about a step away; `l1`: by their L1 norms, as
            printed.
    """

    decay: float = 1.0
    scale: Scale = "step"

    fewest_steps: ClassVar[int] = 2

    def __post_init__(self) -> None:
        number(self, "decay", least=1e-9)
        one_of(self, "scale", ("step", "l1"))

    def bind(self, context: Context) -> UpdateState:
        """The sum of one batch, zero at first."""
        return _Ahead(self, context)


class _Ahead:
    def __init__(self, update: Nesterov, context: Context) -> None:
        self.update, self.context = update, context
        self.total: torch.Tensor | None = None

    def look_ahead(self, images: torch.Tensor) -> torch.Tensor:
        if self.total is None:
            return images
        ahead = images + self.context.step_size * self.update.decay * self.total
        return ahead.to(images.dtype)

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        wide = summable(gradient)
        share = self.context.budget.unit(wide) if self.update.scale == "step" else divided(wide, absolute_sum(wide))
        self.total = share if self.total is None else self.update.decay * self.total + share
        return pointing(self.total, gradient.dtype)
