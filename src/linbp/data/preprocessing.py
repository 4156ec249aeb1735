"""What a protocol does to images: to photographs before the attack, and to images before a victim sees them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from linbp.data.images import Pixels
from linbp.errors import ImageError

__all__ = ["Crop", "Interpolation", "Network", "Preparation", "Resize", "View", "apply_view", "read_view", "write_view"]

Interpolation = Literal["nearest", "bilinear", "bicubic"]

PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preparation:
    """How a photograph becomes the clean image of an attack: resized by Pillow on its 8-bit pixels, then cropped.

    Bit for bit what torchvision's `Resize` and `CenterCrop` make of a Pillow image.

    Attributes:
        resize: (height, width), whatever that does to the aspect ratio; or the length of the shorter side, the aspect
            ratio kept and the longer side rounded down; or None.
        interpolation: Pillow's filter, which averages over the pixels that it leaves out (antialiasing).
        crop: (height, width) of the middle that is kept, or None.
        only: (height, width) that the photograph must have, or None.
    """

    resize: tuple[int, int] | int | None = None
    interpolation: Interpolation = "bilinear"
    crop: tuple[int, int] | None = None
    only: tuple[int, int] | None = None

    def apply(self, pixels: Pixels, where: str = "An image") -> Pixels:
        """The clean image (height, width, 3), uint8.

        Args:
            pixels: the photograph (height, width, 3), uint8.
            where: what messages call it.

        Raises:
            ImageError: the photograph has another size than `only`, or is smaller than the crop.
        """
        height, width = pixels.shape[:2]
        if self.only is not None and (height, width) != self.only:
            raise ImageError(
                f"{where} is {width} x {height} pixels, and the protocol takes {self.only[1]} x {self.only[0]} only.",
                "Give images of that size, or leave --protocol out.",
            )
        if self.resize is not None:
            height, width = scaled(height, width, self.resize)
            image = Image.fromarray(pixels).resize((width, height), PILLOW[self.interpolation])
            pixels = np.array(image)
        if self.crop is None:
            return pixels
        down, across = self.crop
        if down > height or across > width:
            raise ImageError(
                f"{where} is {width} x {height} pixels, less than the crop of {across} x {down}.",
                "Give larger images, or leave --protocol out.",
            )
        top, left = middle(height, down), middle(width, across)
        return np.ascontiguousarray(pixels[top : top + down, left : left + across])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preparation:
        """What `to_dict` wrote."""
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        return cls(**plain)

    def __str__(self) -> str:
        if self.resize is None and self.crop is None:
            return "as it is" + (f" ({self.only[1]} x {self.only[0]})" if self.only else "")
        words = []
        if isinstance(self.resize, int):
            words.append(f"shorter side to {self.resize} ({self.interpolation})")
        elif self.resize is not None:
            words.append(f"resized to {self.resize[1]} x {self.resize[0]}, aspect ratio ignored ({self.interpolation})")
        if self.crop is not None:
            words.append(f"middle {self.crop[1]} x {self.crop[0]}")
        return ", ".join(words)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """What a view has to know of the network that looks.

    Attributes:
        size: (height, width) of its input.
        interpolation: with which its photographs are resized.
        crop_fraction: the share of the resized photograph's side that its ordinary centre crop keeps, above 0.
    """

    size: tuple[int, int]
    interpolation: str = "bilinear"
    crop_fraction: float = 0.875

    def __str__(self) -> str:
        return f"{self.size[1]} x {self.size[0]}, {self.interpolation}, crop fraction {self.crop_fraction:g}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resize:
    """Resizing of a batch of floats, whose values are left as the filter makes them: bicubic ones may leave [0, 1].

    Attributes:
        side: of the square; None: the network's own input size.
        enlarged: the network's own size over its crop fraction, rounded down, so that its ordinary crop can follow. A
            square network gives the shorter side, the aspect ratio kept.
        interpolation: of the filter; None: the network's own.
        antialias: whether pixels that are left out are averaged over when the image gets smaller.
    """

    side: int | None = None
    enlarged: bool = False
    interpolation: Interpolation | None = None
    antialias: bool = False

    def apply(self, images: torch.Tensor, network: Network) -> torch.Tensor:
        """Images (N, C, H, W) at the new size; unchanged where they have it."""
        size = (self.side, self.side) if self.side is not None else network.size
        if self.enlarged:
            height, width = (math.floor(length / network.crop_fraction) for length in size)
            size = scaled(images.shape[-2], images.shape[-1], height if height == width else (height, width))
        return resized(images, size, self.interpolation or network.interpolation, antialias=self.antialias)

    def __str__(self) -> str:
        size = "its own size" if self.side is None else f"{self.side} x {self.side}"
        what = f"{size} over its crop fraction" if self.enlarged else size
        smooth = "" if self.interpolation == "nearest" or self.antialias else ", no antialiasing"
        return f"resized to {what} ({self.interpolation or 'its own interpolation'}{smooth})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Crop:
    """The middle of a batch of images.

    Attributes:
        side: of the square; None: the network's own input size.
    """

    side: int | None = None

    def apply(self, images: torch.Tensor, network: Network) -> torch.Tensor:
        """The middle of images (N, C, H, W), which must not be smaller.

        Raises:
            ImageError: they are.
        """
        return cropped(images, network.size if self.side is None else (self.side, self.side))

    def __str__(self) -> str:
        return "middle of its own size" if self.side is None else f"middle {self.side} x {self.side}"


View = tuple[Resize | Crop, ...]
"""What is done, in this order, to an image before a network sees it; the network resizes what is not its size."""


def apply_view(images: torch.Tensor, view: View, network: Network) -> torch.Tensor:
    """Images (N, C, H, W) in [0, 1] as the network gets them.

    Raises:
        ImageError: they are smaller than a crop.
    """
    for step in view:
        images = step.apply(images, network)
    return images


def write_view(view: View) -> list[dict[str, Any]]:
    """Plain values, for JSON."""
    return [{"step": type(step).__name__.lower(), **dataclasses.asdict(step)} for step in view]


def read_view(data: Sequence[Mapping[str, Any]]) -> View:
    """What `write_view` wrote."""
    kinds = {"resize": Resize, "crop": Crop}
    return tuple(
        kinds[str(entry["step"])](**{name: value for name, value in entry.items() if name != "step"}) for entry in data
    )


def resized(images: torch.Tensor, size: tuple[int, int], interpolation: str, *, antialias: bool = True) -> torch.Tensor:
    """Images (N, C, H, W) at another (height, width); the same tensor where they have it."""
    if tuple(images.shape[-2:]) == size:
        return images
    if interpolation == "nearest":
        return functional.interpolate(images, size=size, mode="nearest")
    return functional.interpolate(images, size=size, mode=interpolation, align_corners=False, antialias=antialias)


def cropped(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The middle (height, width) of images (N, C, H, W), in memory of its own; the same tensor where it is all.

    Raises:
        ImageError: they are smaller.
    """
    (down, across), (height, width) = size, images.shape[-2:]
    if (down, across) == (height, width):
        return images
    if down > height or across > width:
        raise ImageError(
            f"Images of {width} x {height} pixels have no middle of {across} x {down}.",
            "Evaluate with --victim-input own.",
        )
    top, left = middle(height, down), middle(width, across)
    return images[..., top : top + down, left : left + across].clone(memory_format=torch.contiguous_format)


def scaled(height: int, width: int, wanted: tuple[int, int] | int) -> tuple[int, int]:
    """(height, width) after resizing to `wanted`, or to a shorter side of `wanted`, as torchvision counts it."""
    if not isinstance(wanted, int):
        return wanted
    longer = int(wanted * max(height, width) / min(height, width))
    return (longer, wanted) if height > width else (wanted, longer)


def middle(length: int, kept: int) -> int:
    """Where the middle begins; halves go to the even number, as torchvision's do."""
    return round((length - kept) / 2)
