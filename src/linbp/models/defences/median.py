"""The median of a window."""

from __future__ import annotations

import torch

from linbp.models.defences.base import Defence, Ids
from linbp.registry import part
from linbp.validation import number, whole

__all__ = ["Median"]


@part("defence", "median")
class Median(Defence):
    """Median smoothing: each channel of each pixel becomes the median of the square window around it.

    By `scipy.ndimage.median_filter`, images mirrored at their edges (`reflect`); of an even number of values, the upper
    one of the two in the middle. Xu, Evans, Qi: Feature Squeezing, NDSS 2018, arXiv 1704.01155 (2 x 2 for ImageNet).

    Args:
        size: pixels of the window's side, from 2 to 31.
    """

    packages = ("scipy",)

    size: int = 3

    def __post_init__(self) -> None:
        whole(self, "size", least=2)
        number(self, "size", least=2, most=31)

    def apply(self, images: torch.Tensor, ids: Ids) -> torch.Tensor:
        """The smoothed images."""
        from scipy.ndimage import median_filter  # type: ignore[import-untyped]

        return torch.from_numpy(median_filter(images.numpy(), size=(1, 1, self.size, self.size), mode="reflect"))
