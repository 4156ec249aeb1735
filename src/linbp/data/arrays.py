"""Images and classes that are given in memory, of whatever kind, as tensors."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from linbp.data.images import grid_tolerance, rgb_pixels
from linbp.errors import ImageError

__all__ = ["CHECKED", "as_classes", "as_images", "as_levels", "check_levels"]

IMAGE_RANK = 4
FLOATS = (torch.float16, torch.float32, torch.float64)
CHECKED = 64
"""Images that are checked at a time, which bounds the memory it takes."""


def as_images(images: Any, what: str = "images") -> torch.Tensor:
    """Images (N, C, H, W), uint8 or floats of 16 to 64 bits, without a gradient's graph; values are not looked at.

    Args:
        images: a tensor or an array of that shape, or a sequence of tensors or arrays (C, H, W) or of Pillow's images,
            all of one size.
        what: what messages call them.

    Raises:
        ImageError: another shape or kind.
    """
    name = what[0].upper() + what[1:]
    given = _tensor(images, name)
    if given.ndim != IMAGE_RANK or 0 in given.shape[1:]:
        one = f" (for a single image {what}[None])" if given.ndim == IMAGE_RANK - 1 else ""
        raise ImageError(
            f"{name} have shape {tuple(given.shape)}.",
            f"Give a batch of shape (images, channels, height, width){one}.",
        )
    if given.dtype != torch.uint8 and given.dtype not in FLOATS:
        mend = "Give uint8, or floats in [0, 1]."
        if given.dtype == torch.bfloat16:
            mend += " bfloat16 cannot hold the 256 levels of an image."
        elif not (given.is_floating_point() or given.is_complex() or given.dtype == torch.bool):
            mend += " Whole numbers from 0 to 255 become uint8 by .to(torch.uint8) or .astype(numpy.uint8)."
        raise ImageError(f"{name} are {_dtype(given)}.", mend)
    return given


def check_levels(images: torch.Tensor, names: Sequence[str]) -> None:
    """Refuse images (N, C, H, W) whose values are no levels k / 255.

    Args:
        images: uint8 or floats.
        names: of the images, for messages.

    Raises:
        ImageError: one is NaN, outside [0, 1] or not on the 8-bit grid.
    """
    if images.dtype == torch.uint8:
        return
    tolerance = grid_tolerance(torch.finfo(images.dtype).eps)
    for begin in range(0, len(images), CHECKED):
        levels = images[begin : begin + CHECKED].to(torch.float64).flatten(1) * 255
        low, high = levels.amin(1), levels.amax(1)
        outside = ~((low >= -tolerance) & (high <= 255 + tolerance))
        off = (levels - levels.round()).abs().amax(1) > tolerance
        for wrong, fault in ((outside, "is outside [0, 1]"), (off, "is not on the 8-bit grid (k / 255)")):
            found = wrong.nonzero().flatten().tolist()
            if found:
                at = found[0]
                spread = _range(levels[at]) if wrong is outside else ""
                raise ImageError(f"Image {names[begin + at]} {fault}{spread}.", _mend(levels[at]))


def as_levels(images: torch.Tensor) -> torch.Tensor:
    """Images (N, C, H, W) whose values are levels k / 255, as those levels in uint8.

    A few are converted at a time: in float64 an image takes eight times the memory of its levels.
    """
    if images.dtype == torch.uint8:
        return images
    levels = torch.empty(images.shape, dtype=torch.uint8, device=images.device)
    for some, into in zip(torch.split(images, CHECKED), torch.split(levels, CHECKED), strict=True):
        into.copy_((some.to(torch.float64) * 255).round())
    return levels


def as_classes(values: Any, count: int, what: str = "label") -> torch.Tensor:
    """Labels or targets as a tensor (N,) of int64 on the CPU; whether they are classes of a network is not looked at.

    Args:
        values: a tensor, an array or a sequence of whole numbers.
        count: how many images there are.
        what: what messages call one of them.

    Raises:
        ImageError: another number of them than images, or something else than whole numbers.
    """
    name = f"{what[0].upper()}{what[1:]}s"
    if isinstance(values, list | tuple):
        values = [one.item() if isinstance(one, torch.Tensor) and one.numel() == 1 else one for one in values]
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
    array = _array(values, name)
    if array.dtype == object and all(isinstance(one, int | np.integer) for one in array.flat):
        with _refused(f"{name} are out of range.", "They are classes of the network, counted from 0."):
            array = array.astype(np.int64)
    if array.shape == (0,) == (count,):
        array = array.astype(np.int64)
    if array.shape != (count,) or not np.issubdtype(array.dtype, np.integer):
        raise ImageError(
            f"{name} have shape {array.shape} and dtype {array.dtype} for {count} images.",
            f"Give {count} integers, one whole number for each image as its {what}{_whole(array, count, what)}.",
        )
    return torch.from_numpy(array.astype(np.int64))


def _tensor(images: Any, name: str) -> torch.Tensor:
    """What was given as a tensor of its own shape and dtype; the caller's memory, where it can be shared."""
    if isinstance(images, torch.Tensor):
        if images.layout != torch.strided or images.is_quantized or images.is_nested or images.is_meta:
            raise ImageError(
                f"{name} are no ordinary tensor ({images.layout}, {images.dtype}, {images.device}).",
                "Give a dense one with values: uint8, or floats in [0, 1].",
            )
        return images.detach().as_subclass(torch.Tensor)
    if isinstance(images, np.ndarray) and images.dtype != object:
        return _from_array(images, name)
    if isinstance(images, list | tuple | np.ndarray):
        return _stacked([_one(image, at) for at, image in enumerate(images)], name)
    if isinstance(images, str | bytes | os.PathLike):
        raise ImageError(
            f"{name} are a path.", "linbp craft --data attacks files; linbp.data.images.read_image reads one."
        )
    if isinstance(images, Image.Image):
        raise ImageError(f"{name} are one image of Pillow's.", "Give a list: [image].")
    if isinstance(images, DataLoader | Dataset | Iterator | Mapping | Set) or images is None:
        raise ImageError(
            f"{name} are a {type(images).__name__}.",
            "Give a batch of shape (images, channels, height, width): of a DataLoader, one batch after the other.",
        )
    return _from_array(_array(images, name), name)


def _one(image: Any, at: int) -> torch.Tensor:
    """One image of a sequence, (C, H, W)."""
    if isinstance(image, Image.Image):
        return torch.from_numpy(rgb_pixels(image, f"Image {at}")).permute(2, 0, 1)
    known = isinstance(image, torch.Tensor | np.ndarray)
    given = _tensor(image, f"Image {at}: values") if known else _from_array(_array(image, f"Image {at}"), f"Image {at}")
    if given.ndim == IMAGE_RANK - 1:
        return given
    raise ImageError(
        f"Image {at} of the sequence has shape {tuple(given.shape)}.",
        "Give a sequence of images (channels, height, width), or a batch (images, channels, height, width); a "
        "DataLoader's batch is such a batch and its labels.",
    )


def _stacked(images: Sequence[torch.Tensor], name: str) -> torch.Tensor:
    if not images:
        raise ImageError(
            f"{name} are an empty sequence.", "Give at least one, or an empty batch (0, 3, height, width)."
        )
    for at, image in enumerate(images):
        if (image.shape, image.dtype) != (images[0].shape, images[0].dtype):
            first, other = (f"{tuple(one.shape)} of {_dtype(one)}" for one in (images[0], image))
            raise ImageError(
                f"{name} differ: image 0 is {first}, image {at} is {other}.",
                "Give those of one size and dtype at a time, or resize them.",
            )
    return torch.stack([image.to(images[0].device) for image in images])


def _from_array(array: npt.NDArray[Any], name: str) -> torch.Tensor:
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    with warnings.catch_warnings(), _refused(f"{name} are {array.dtype}.", "Give uint8, or floats in [0, 1]."):
        # Of memory that must not be written: nobody does.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(native)


def _array(values: Any, name: str) -> npt.NDArray[Any]:
    with _refused(f"{name} are a {type(values).__name__} that is no array.", "Give a tensor, an array or a list."):
        return np.asarray(values)


@contextlib.contextmanager
def _refused(message: str, hint: str) -> Iterator[None]:
    """Turns what NumPy and PyTorch say of a value that they do not take into a line of ours."""
    try:
        yield
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ImageError(message, hint) from error


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _range(levels: torch.Tensor) -> str:
    if levels.isnan().any():
        return ": it holds NaN"
    return f": its values go from {float(levels.min()) / 255:.4g} to {float(levels.max()) / 255:.4g}"


def _mend(levels: torch.Tensor) -> str:
    """What to do about an image's values."""
    values = levels / 255
    if values.isfinite().all() and 1 < values.max() <= 255 and values.min() >= 0:
        return "Divide by 255: images / 255."
    if values.min() < 0:
        return (
            "Give images in [0, 1], before any normalisation: a linbp.Model has its mean and std and normalises itself."
        )
    return "Give uint8 images, or floats that are whole levels: (images * 255).round() / 255."


def _whole(array: npt.NDArray[Any], count: int, what: str) -> str:
    """How to make labels of what was given."""
    if array.shape == () and array.dtype.kind in "iu":
        return f": [{what}] for one image"
    if array.shape == (count, 1):
        return f": {what}s.reshape(-1)"
    if array.ndim == 2 and len(array) == count:
        return f": {what}s.argmax(1), if these are one-hot rows"
    if array.shape == (count,) and array.dtype.kind in "US":
        return f": [int({what}) for {what} in {what}s], if these are digits"
    if array.shape == (count,) and array.dtype.kind == "f":
        return f": {what}s.long() or .astype(int), if these are whole"
    return ""
