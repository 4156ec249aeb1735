"""How visible and how fragile adversarial images are: distances, structural similarity, survival of JPEG."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from linbp.errors import ImageError
from linbp.evaluation.statistics.rates import Rate, rate

if TYPE_CHECKING:
    from linbp.data.images import Pixels

__all__ = ["JPEG_QUALITIES", "Stealth", "ssim", "stealth", "survival"]

JPEG_QUALITIES = (90, 75)
"""What cameras and web sites save with, and what Pillow, libjpeg and many services take where nothing is said."""

SSIM_WINDOW = 11
"""Pixels of the Gaussian window of Wang et al. (2004): 3.5 standard deviations of 1.5 on either side."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stealth:
    """What a set of adversarial images looks like beside the clean ones.

    Attributes:
        images: how many pairs.
        linf_mean: mean over images of the largest difference, in levels of 0 to 255.
        linf_max: the largest of them.
        l2_mean: mean over images of the Euclidean norm, with images in [0, 1].
        ssim_mean: mean over images of the structural similarity; 1 is the same image.
        ssim_min: the smallest of them.
        survival: by quality of JPEG, the share of the successes that are successes after it too.
    """

    images: int
    linf_mean: float
    linf_max: int
    l2_mean: float
    ssim_mean: float
    ssim_min: float
    survival: Mapping[int, Rate] = dataclasses.field(default_factory=dict)


def ssim(clean: Pixels, adv_image: Pixels) -> float:
    """Structural similarity of two images (H, W, 3) of levels, in [-1, 1], the mean over pixels and channels.

    With the constants of Wang et al. (2004): a Gaussian window of standard deviation 1.5, K1 = 0.01, K2 = 0.03, 255
    levels; computed by scikit-image.

    Raises:
        ImageError: the images differ in shape, or a side has fewer than 11 pixels.
        ModuleNotFoundError: scikit-image is not installed (extra `report`).
    """
    from skimage.metrics import structural_similarity  # type: ignore[import-not-found,unused-ignore]

    if clean.shape != adv_image.shape:
        raise ImageError(
            f"Images of shape {clean.shape} and {adv_image.shape} cannot be compared.", "Give pairs of one size."
        )
    if min(clean.shape[:2]) < SSIM_WINDOW:
        raise ImageError(
            f"An image of {clean.shape[1]} x {clean.shape[0]} pixels is too small for structural similarity.",
            f"Give images of at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels.",
        )
    similarity = structural_similarity(  # type: ignore[no-untyped-call,unused-ignore]
        clean, adv_image, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return float(similarity)


def survival(success: npt.ArrayLike, success_after: npt.ArrayLike) -> Rate:
    """Of the adversarial images that succeeded, the share that still does after something was done to them.

    Args:
        success: (images,) whether the adversarial image as it was made succeeded.
        success_after: (images,) whether it succeeded after it was, for instance, saved as a JPEG.
    """
    before, after = np.asarray(success, dtype=bool), np.asarray(success_after, dtype=bool)
    return rate(int((before & after).sum()), int(before.sum()))


def stealth(
    pairs: Sequence[tuple[Pixels, Pixels]],
    success: npt.ArrayLike | None = None,
    success_after: Mapping[int, npt.ArrayLike] | None = None,
) -> Stealth:
    """The statistics of pairs of a clean and an adversarial image (H, W, 3), at least one.

    Args:
        pairs: images of levels; pairs may differ in size.
        success: (images,) whether each adversarial image succeeded.
        success_after: by quality of JPEG, whether it succeeded after that.

    Raises:
        ImageError: no pairs, a pair of two sizes, or an image smaller than 11 pixels.
    """
    from linbp.data.images import distances  # imports torch

    if not pairs:
        raise ImageError("There are no images to compare.", "Give at least one pair.")
    found = [distances(clean, adv_image) for clean, adv_image in pairs]
    similar = [ssim(clean, adv_image) for clean, adv_image in pairs]
    return Stealth(
        images=len(pairs),
        linf_mean=float(np.mean([linf for linf, _ in found])),
        linf_max=max(linf for linf, _ in found),
        l2_mean=float(np.mean([l2 for _, l2 in found])),
        ssim_mean=float(np.mean(similar)),
        ssim_min=min(similar),
        survival={
            quality: survival(np.zeros(len(pairs)) if success is None else success, after)
            for quality, after in (success_after or {}).items()
        },
    )
