"""Scale invariance: gradients at darker and darker copies of the image."""

from __future__ import annotations

import torch

from linbp.attack.context import Context
from linbp.attack.parts.transform.base import Transform
from linbp.randomness import Draws
from linbp.registry import part
from linbp.validation import number, whole

__all__ = ["ScaleInvariant", "scaled"]


@part("transform", "si")
class ScaleInvariant(Transform):
    """Scale invariance: the mean gradient of copies whose values are divided by 1, 2, 4, ...

        g = 1/m sum_i d/dx J(S_i(x)),   S_i(x) = c + (x - c) / 2^i,   i = 0 ... m - 1

    The gradient goes through the division, so copy i counts 1 / 2^i of its own. Lin et al.: Nesterov Accelerated
    Gradient and Scale Invariance for Adversarial Attacks, ICLR 2020, arXiv 1908.06281: m = 5, S_i(x) = x / 2^i. Its
    code (JHL-HUST/SI-NI-FGSM) divides values of [-1, 1], so that copies fade to mid-grey: `centre=0.5`. TransferAttack
    divides values of [0, 1], so that they fade to black, as here by default. Each step takes m gradients.

    Args:
        scales: m, the number of copies, at least 2.
        centre: c, the value in [0, 1] that copies fade to.
    """

    scales: int = 5
    centre: float = 0.0

    def __post_init__(self) -> None:
        whole(self, "scales", least=2)
        number(self, "centre", least=0, most=1)

    @property
    def copies(self) -> int:
        """One for each scale."""
        return self.scales

    def apply(self, images: torch.Tensor, context: Context, draws: Draws, copy: int) -> torch.Tensor:
        """The images at one scale."""
        return scaled(images, copy, self.centre)


def scaled(images: torch.Tensor, halvings: int, centre: float) -> torch.Tensor:
    """Images whose difference from a value is halved some times.

    Args:
        images: (N, C, H, W).
        halvings: how often.
        centre: the value.
    """
    if halvings == 0:
        return images
    return (images - centre) / float(2**halvings) + centre
