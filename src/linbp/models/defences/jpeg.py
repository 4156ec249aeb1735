"""JPEG compression."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from linbp.data.images import to_unit
from linbp.data.jpeg import as_jpeg
from linbp.models.defences.base import Defence, Ids
from linbp.registry import part
from linbp.validation import number, one_of, whole

__all__ = ["Jpeg"]


@part("defence", "jpeg")
class Jpeg(Defence):
    """JPEG: each image is saved and read again, by Pillow, in memory.

    Values are rounded to levels of 0 to 255 first. Dziugaite, Ghahramani, Roy: A Study of the Effect of JPG Compression
    on Adversarial Images, 2016, arXiv 1608.00853; Guo et al.: Countering Adversarial Images Using Input
    Transformations, ICLR 2018, arXiv 1711.00117 (quality 75).

    Args:
        quality: of libjpeg's tables, from 1 to 95.
        subsampling: of the colours: '4:2:0', half in both directions, as is the custom; '4:2:2' or '4:4:4'.
    """

    packages = ("pillow",)

    quality: int = 75
    subsampling: Literal["4:2:0", "4:2:2", "4:4:4"] = "4:2:0"

    def __post_init__(self) -> None:
        whole(self, "quality", least=1)
        number(self, "quality", least=1, most=95)
        one_of(self, "subsampling", ("4:2:0", "4:2:2", "4:4:4"))

    def apply(self, images: torch.Tensor, ids: Ids) -> torch.Tensor:
        """The images after the JPEG."""
        levels = (images * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
        return to_unit(np.stack([as_jpeg(pixels, self.quality, self.subsampling) for pixels in levels]), images.dtype)
