"""Diverse inputs: random resizing and padding."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch.nn import functional

from linbp.attack.context import Context
from linbp.attack.parts.transform.base import Transform
from linbp.errors import RecipeError
from linbp.randomness import Draws
from linbp.registry import part, typed_name
from linbp.validation import number, one_of

__all__ = ["DiverseInputs", "Interpolation", "padded", "padded_at_random"]

Interpolation = Literal["nearest", "bilinear"]


@part("transform", "di")
class DiverseInputs(Transform):
    """Diverse inputs: with some probability, enlarge the image to a random size, pad it with zeros at a random place to
    the largest size, and bring it back to its own size. Coin, size and place are drawn for each image and step.

    With height H, the random height is a whole number from H up to, not including, floor(scale H); the width keeps the
    proportion. Xie et al.: Improving Transferability of Adversarial Examples with Input Diversity, CVPR 2019, arXiv
    1803.06978: probability 0.5, 299 to 330 pixels (scale 1.1), nearest neighbour.

    Args:
        probability: of changing an image, above 0 and at most 1.
        scale: largest size over the image's own, above 1.
        interpolation: `nearest` or `bilinear`.
    """

    probability: float = 0.5
    scale: float = 1.1
    interpolation: Interpolation = "nearest"

    def __post_init__(self) -> None:
        number(self, "probability", least=1e-9, most=1.0)
        number(self, "scale", least=1.0, most=4.0)
        one_of(self, "interpolation", ("nearest", "bilinear"))

    def apply(self, images: torch.Tensor, context: Context, draws: Draws, copy: int) -> torch.Tensor:
        """The changed images, of the same shape."""
        if int(images.shape[-2] * self.scale) <= images.shape[-2]:
            raise RecipeError(
                f"{typed_name(self)}(scale={self.scale:g}) would have no effect on images "
                f"{images.shape[-2]} pixels high.",
                "Give a larger scale.",
            )
        rows = [self._one(image[None], draw) for image, draw in zip(images, draws.generators("di"), strict=True)]
        return torch.cat(rows)

    def _one(self, image: torch.Tensor, draw: np.random.Generator) -> torch.Tensor:
        height = image.shape[-2]
        if draw.random() >= self.probability:
            return image
        tallest = int(height * self.scale)
        new_height = int(draw.integers(height, tallest))
        return padded_at_random(image, new_height, self.scale, draw, self.interpolation)


def padded_at_random(
    image: torch.Tensor, new_height: int, scale: float, draw: np.random.Generator, interpolation: Interpolation
) -> torch.Tensor:
    """One image (1, C, H, W) enlarged to a height, in proportion, and padded at a random place to the largest size."""
    height, width = image.shape[-2:]
    tallest, widest = int(height * scale), int(width * scale)
    new_width = max(1, round(width * new_height / height))
    top = int(draw.integers(0, tallest - new_height + 1))
    left = int(draw.integers(0, max(widest - new_width, 0) + 1))
    return padded(image, (new_height, new_width), (top, left), (tallest, widest), interpolation)


def padded(
    image: torch.Tensor,
    size: tuple[int, int],
    corner: tuple[int, int],
    largest: tuple[int, int],
    interpolation: Interpolation,
) -> torch.Tensor:
    """One image (1, C, H, W) enlarged, padded with zeros to the largest size, and brought back to its own.

    Args:
        image: the image.
        size: height and width that it is enlarged to.
        corner: where its upper left corner then lies.
        largest: height and width with the zeros.
        interpolation: both times.
    """
    (new_height, new_width), (top, left), (tallest, widest) = size, corner, largest
    enlarged = _resized(image, size, interpolation)
    right, bottom = max(widest - new_width - left, 0), tallest - new_height - top
    whole = functional.pad(enlarged, (left, right, top, bottom))
    return _resized(whole, (image.shape[-2], image.shape[-1]), interpolation)


def _resized(image: torch.Tensor, size: tuple[int, int], interpolation: Interpolation) -> torch.Tensor:
    if tuple(image.shape[-2:]) == size:
        return image
    if interpolation == "nearest":
        return functional.interpolate(image, size=size, mode="nearest")
    return functional.interpolate(image, size=size, mode="bilinear", align_corners=False)
