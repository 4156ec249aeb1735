"""Admix: a little of other images is added to the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from linbp.attack.context import Context
from linbp.attack.parts.transform.base import Transform
from linbp.attack.parts.transform.scale import scaled
from linbp.randomness import Draws
from linbp.registry import part
from linbp.validation import number, whole

__all__ = ["Admix"]


@part("transform", "admix")
class Admix(Transform):
    """Admix: the mean gradient of copies with a part of another image added, each at several scales.

        g = 1/(m1 m2) sum_(x', i) d/dx J(S_i(x + s (x' - c))),   S_i(x) = c + (x - c) / 2^i,   i = 0 ... m1 - 1

    The m2 partners x' of an image are drawn for each step, without replacement where there are enough, and serve all
    scales. The gradient is taken with respect to x, through the sum and the division. Wang et al.: Admix: Enhancing the
    Transferability of Adversarial Attacks, ICCV 2021, arXiv 2102.00436: s = 0.2, m2 = 3, m1 = 5, c = 0, so
    S_i = (x + 0.2 x') / 2^i. Its code (JHL-HUST/Admix) works on values of [-1, 1], which is `centre=0.5` here, and
    TransferAttack's on values of [0, 1], as here by default. Each step takes m1 m2 gradients.

    The paper draws partners from other classes, its code and TransferAttack's shuffle the batch, so that an adversarial
    image depends on its companions. Here partners come from a fixed pool (`--pool`, or `pool=linbp.Pool(images)`),
    never the image itself, and of another class where the pool's classes are known.

    Args:
        strength: s, how much of a partner is added, above 0 and at most 1.
        partners: m2, how many partners an image has in a step, at least 1.
        scales: m1, how many scales, at least 1.
        centre: c, the value in [0, 1] that copies fade to.
    """

    strength: float = 0.2
    partners: int = 3
    scales: int = 5
    centre: float = 0.0

    needs_pool: ClassVar[bool] = True
    excludes: ClassVar[Mapping[str, str]] = {
        "si": "admix makes scaled copies itself, and would scale them twice (admix(scales=...) says how many)"
    }

    def __post_init__(self) -> None:
        number(self, "strength", least=1e-9, most=1)
        whole(self, "partners", least=1)
        whole(self, "scales", least=1)
        number(self, "centre", least=0, most=1)

    @property
    def copies(self) -> int:
        """One for each partner and scale."""
        return self.partners * self.scales

    def apply(self, images: torch.Tensor, context: Context, draws: Draws, copy: int) -> torch.Tensor:
        """The images with one partner each, at one scale."""
        assert context.pool is not None  # craft refuses a recipe that needs one without it
        partner, halvings = divmod(copy, self.scales)
        added = []
        for clean, candidates, draw in zip(
            context.budget.clean, context.candidates, draws.generators("admix"), strict=True
        ):
            enough = len(candidates) >= self.partners
            chosen = draw.choice(candidates, size=self.partners, replace=not enough)
            added.append(context.pool.image(int(chosen[partner]), clean))
        mixed = images + self.strength * (torch.stack(added) - self.centre)
        return scaled(mixed, halvings, self.centre)
