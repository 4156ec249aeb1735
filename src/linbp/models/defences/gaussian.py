"""Gaussian blur."""

from __future__ import annotations

import torch

from linbp.models.defences.base import Defence, Ids
from linbp.registry import part
from linbp.validation import number

__all__ = ["Gaussian"]


@part("defence", "gaussian")
class Gaussian(Defence):
    """Gaussian smoothing: each channel is blurred.

    By `scipy.ndimage.gaussian_filter`: the kernel exp(-d^2 / (2 sigma^2)) is cut off at 4 sigma and sums to 1; images
    are mirrored at their edges (`reflect`). Xu, Evans, Qi: Feature Squeezing, NDSS 2018, arXiv 1704.01155, name it
    among the local smoothings.

    Args:
        sigma: standard deviation in pixels, from 0.1 to 20.
    """

    packages = ("scipy",)

    sigma: float = 1.0

    def __post_init__(self) -> None:
        number(self, "sigma", least=0.1, most=20.0)

    def apply(self, images: torch.Tensor, ids: Ids) -> torch.Tensor:
        """The blurred images."""
        from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]

        return torch.from_numpy(gaussian_filter(images.numpy(), sigma=self.sigma, axes=(2, 3), mode="reflect"))
