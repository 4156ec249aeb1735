"""Resizing and a centre crop before a network, as many pipelines have them; without one, images are resized whole."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from linbp.data.preprocessing import cropped, resized, scaled
from linbp.errors import ImageError, ModelError

__all__ = ["CentreCrop", "read_crop"]

Size = tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CentreCrop:
    """Resizes images and keeps their middle: what torchvision's `Resize(antialias=True)` and `CenterCrop` do.

    Attributes:
        crop: (height, width) of the middle.
        resize: the length of the shorter side before the crop, the aspect ratio kept and the longer side rounded down;
            or (height, width), whatever that does to the aspect ratio; None: images are cropped as they are.
    """

    crop: Size
    resize: Size | int | None = None

    def apply(self, images: torch.Tensor, interpolation: str) -> torch.Tensor:
        """The middle of images (N, C, H, W); gradients reach the pixels that are kept.

        Raises:
            ModelError: they are smaller than the crop.
        """
        height, width = images.shape[-2:]
        if self.resize is not None:
            images = resized(images, scaled(height, width, self.resize), interpolation)
        try:
            return cropped(images, self.crop)
        except ImageError as error:
            raise ModelError(
                error.message, f"Give resize, such as resize={max(self.crop)}, or larger images."
            ) from error

    def facts(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "resize": list(self.resize) if isinstance(self.resize, tuple) else self.resize,
            "crop": list(self.crop),
        }

    def __str__(self) -> str:
        words = []
        if isinstance(self.resize, int):
            words.append(f"shorter side to {self.resize}")
        elif self.resize is not None:
            words.append(f"resized to {self.resize[1]} x {self.resize[0]}")
        return ", ".join([*words, f"middle {self.crop[1]} x {self.crop[0]}"])


def read_crop(size: Size | None, resize: Any = None, crop: Any = None) -> CentreCrop | None:
    """The crop that people write as `resize=256, crop=224`; None where they write neither.

    Args:
        size: (height, width) that the network takes; None: any.
        resize: the shorter side before the crop, or (height, width).
        crop: the side of the square, or (height, width), that is kept; by default `size`.

    Raises:
        ModelError: no such sizes, a crop that is not what the network takes, or one larger than what it is cut from.
    """
    if resize is None and crop is None:
        return None
    before = None if resize is None else _size("resize", resize, "256, the shorter side, or (height, width)")
    kept = size if crop is None else _size("crop", crop, "224, or (height, width)")
    if isinstance(kept, int):
        kept = (kept, kept)
    if kept is None:
        raise ModelError("resize without crop, and the network takes any size.", "Give crop, such as crop=224.")
    if size is not None and kept != size:
        raise ModelError(
            f"The crop keeps {kept[1]} x {kept[0]}, and the network takes {size[1]} x {size[0]}.",
            "Leave crop out: the middle that is kept is what the network takes.",
        )
    least = (before, before) if isinstance(before, int) else before
    if least is not None and (least[0] < kept[0] or least[1] < kept[1]):
        raise ModelError(
            f"resize={resize} leaves less than the crop of {kept[1]} x {kept[0]}.",
            "Resize to the crop's size or more, such as resize=256, crop=224.",
        )
    return CentreCrop(crop=kept, resize=before)


def _size(what: str, given: Any, form: str) -> Size | int:
    """A side, or (height, width), out of a number, a sequence, an array or a tensor."""
    values = given.tolist() if hasattr(given, "tolist") else given
    numbers = list(values) if isinstance(values, list | tuple) else [values]
    fine = all(
        isinstance(one, int | float) and not isinstance(one, bool) and one % 1 == 0 and one >= 1 for one in numbers
    )
    if not fine or len(numbers) > 2 or not numbers:
        raise ModelError(f"{what} is {' '.join(repr(given).split())[:60]}.", f"Give whole numbers: {what}={form}.")
    sides = [int(one) for one in numbers]
    return (sides[0], sides[1]) if len(sides) == 2 else sides[0]
