"""A fixed set of images that attacks may mix into others: never the companions of a batch."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from linbp.data.image_list import ImageRecord
from linbp.data.images import Pixels, pixel_sha256, read_ahead, to_uint8
from linbp.errors import ImageError

__all__ = ["Pool"]

IMAGE_RANK = 3


class Pool:
    """Images that are mixed into those under attack, Admix's partners, with their classes where those are known.

    They are kept in memory, each in its own size, one byte a channel of a pixel. Where an image under attack has
    another size, what is mixed into it is resized to that: bilinear, and averaging where it becomes smaller.

    Args:
        images: (M, C, H, W), or a sequence of (C, H, W) of any sizes; tensors or arrays, uint8, or floats in [0, 1] on
            the 8-bit grid.
        labels: (M,), counted from 0 as those of the images under attack are, or None. Where they are known, what is
            mixed into an image is of another class.

    Attributes:
        images: each (C, H, W), uint8, on the CPU.
        labels: or None.

    Raises:
        ImageError: no images, images of other shapes or values, or labels that are not one whole number for each.
    """

    def __init__(self, images: Any, labels: Any = None) -> None:
        self.images = tuple(_levels(image) for image in images)
        if not self.images:
            raise ImageError("The pool has no images.", "Give at least one.")
        channels = {len(image) for image in self.images}
        if len(channels) > 1:
            raise ImageError(
                f"The pool's images have {' or '.join(map(str, sorted(channels)))} channels.", "Give them the same."
            )
        given = None if labels is None else torch.as_tensor(labels)
        if given is not None and (given.shape != (len(self.images),) or given.is_floating_point()):
            raise ImageError(
                f"The pool's labels have shape {tuple(given.shape)} and dtype {given.dtype} for {len(self.images)} "
                "images.",
                "Give one whole number for each image, or none.",
            )
        self.labels: tuple[int, ...] | None = None if given is None else tuple(map(int, given.tolist()))

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def read(
        cls,
        records: Sequence[ImageRecord],
        *,
        threads: int = 4,
        prepare: Callable[[Pixels, str], Pixels] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Pool:
        """The pool of a list of image files; its classes are known if every image has a label.

        Args:
            records: from `list_images`.
            threads: how many images are decoded at a time.
            prepare: what is done to the pixels of each first, such as the `apply` of a protocol's preparation.
            progress: called with (images read, images in all).

        Raises:
            ImageError: no images, or one cannot be read.
        """
        images = []
        for pixels in read_ahead([record.path for record in records], threads, prepare):
            images.append(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
            if progress is not None:
                progress(len(images), len(records))
        labels = [record.label for record in records if record.label is not None]
        return cls(images, labels if len(labels) == len(images) else None)

    @functools.cached_property
    def sha256(self) -> str:
        """The hash of its images and labels in their order, for the records."""
        labels = self.labels or (None,) * len(self)
        lines = [f"{label}\0{content}\n" for label, content in zip(labels, self._contents, strict=True)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @functools.cached_property
    def _contents(self) -> tuple[str, ...]:
        return tuple(pixel_sha256(image.numpy()) for image in self.images)

    def candidates(self, clean: torch.Tensor, label: int) -> tuple[int, ...]:
        """The numbers of the images that may be mixed into one: never itself, nor one known to be of its class.

        An image is told by its pixels: the pool may be the images under attack themselves.

        Args:
            clean: (C, H, W), the image under attack, in [0, 1].
            label: its class.

        Raises:
            ImageError: there is none.
        """
        if len(clean) != len(self.images[0]):
            raise ImageError(
                f"The pool's images have {len(self.images[0])} channels, the image under attack {len(clean)}.",
                "Give a pool of images of the same kind.",
            )
        itself = pixel_sha256((clean.double() * 255).round().to(torch.uint8).cpu().numpy())
        labels = self.labels or (None,) * len(self)
        found = tuple(
            index
            for index, (content, other) in enumerate(zip(self._contents, labels, strict=True))
            if content != itself and other != label
        )
        if not found:
            raise ImageError(
                f"The pool has nothing to mix into an image of class {label}: "
                + ("every other image is of that class." if self.labels else "there is no other image."),
                "Give a pool with further images" + (" of other classes." if self.labels else "."),
            )
        return found

    def image(self, index: int, like: torch.Tensor) -> torch.Tensor:
        """One of its images, (C, H, W) in [0, 1], in the size and dtype and on the device of `like` (C, H, W)."""
        image = self.images[index].to(like.device).to(like.dtype) / 255
        if image.shape[-2:] == like.shape[-2:]:
            return image
        size = tuple(like.shape[-2:])
        return functional.interpolate(image[None], size=size, mode="bilinear", align_corners=False, antialias=True)[0]


def _levels(image: Any) -> torch.Tensor:
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        image = (image.double() if image.is_floating_point() else image).numpy()
    array = np.array(image)  # a copy: what the pool was made of may change
    if array.ndim != IMAGE_RANK or not array.size:
        raise ImageError(
            f"The pool has an image of shape {array.shape}.",
            "Give a batch (images, channels, height, width), or a list of (channels, height, width).",
        )
    return torch.from_numpy(to_uint8(array, "images of the pool"))
