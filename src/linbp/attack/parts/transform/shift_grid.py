"""Copies of the image that are moved by a grid of fixed shifts."""

from __future__ import annotations

import torch
from torch.nn import functional

from linbp.attack.context import Context
from linbp.attack.parts.transform.base import Transform
from linbp.randomness import Draws
from linbp.registry import part
from linbp.validation import number, whole

__all__ = ["ShiftGrid"]


@part("transform", "shift-grid")
class ShiftGrid(Transform):
    """The mean gradient at copies that are moved by fixed shifts, a square grid of them.

        g = 1/n^2 sum_(i, j) d/dx J(S_(s_i, s_j)(x)),    s = -reach ... reach in n equal steps

    of half the image's side; values are bilinear, and black comes in at the edges. Nothing is random. The augmentation
    of ANDA (Fang et al.: Strong Transferable Adversarial Attacks via Ensembled Asymptotically Normal Distribution
    Learning, CVPR 2024, arXiv 2209.11964): 5 x 5 shifts up to 0.3, with the update `running-mean` (`anda`). Each step
    takes shifts^2 gradients. In the authors' code, in float32, 0.3 is 0.30000001.

    Args:
        shifts: along each axis, at least 2.
        reach: the largest, as a share of half the side, above 0 and at most 1.
    """

    shifts: int = 5
    reach: float = 0.3

    def __post_init__(self) -> None:
        whole(self, "shifts", least=2)
        number(self, "reach", least=1e-9, most=1)

    @property
    def copies(self) -> int:
        """One for each place of the grid."""
        return self.shifts**2

    def apply(self, images: torch.Tensor, context: Context, draws: Draws, copy: int) -> torch.Tensor:
        """The images, moved by one shift."""
        down, across = (self.reach * (2 * at / (self.shifts - 1) - 1) for at in divmod(copy, self.shifts))
        height, width = images.shape[-2:]
        place = [(torch.arange(side, dtype=torch.float64) * 2 + 1) / side - 1 for side in (height, width)]
        grid = torch.stack(torch.meshgrid(place[0] + down, place[1] + across, indexing="ij")[::-1], dim=-1)
        grid = grid.to(images.dtype).to(images.device)[None]
        rows = [
            functional.grid_sample(image[None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            for image in images
        ]
        return torch.cat(rows)
