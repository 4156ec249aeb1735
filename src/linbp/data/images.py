"""Pixels on disk: image files to arrays, arrays to lossless PNGs."""

from __future__ import annotations

import collections
import contextlib
import errno
import hashlib
import io
import os
import warnings
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from linbp.data.files import write_atomically
from linbp.data.stored import HEAD, bits_per_channel, is_turned
from linbp.errors import ImageError

if TYPE_CHECKING:
    import torch

__all__ = [
    "EXTENSIONS",
    "Pixels",
    "decode_image",
    "distances",
    "grid_tolerance",
    "is_turned",
    "pixel_sha256",
    "png_bytes",
    "read_ahead",
    "read_image",
    "rgb_pixels",
    "size_batches",
    "to_uint8",
    "to_unit",
    "write_png",
]

Pixels = npt.NDArray[np.uint8]

EXTENSIONS = frozenset(
    f".{ending}"
    for ending in (
        *("apng", "avif", "avifs", "bmp", "dib", "gif", "ico", "j2c", "j2k", "jfif", "jp2", "jpc", "jpe", "jpeg"),
        *("jpf", "jpg", "jpx", "mpo", "pbm", "pcx", "pgm", "png", "pnm", "ppm", "qoi", "sgi", "tga", "tif", "tiff"),
        "webp",
    )
)
"""Endings, in lower case, of the files that count as images: what Pillow reads as pixels."""

MOST_THREADS = 64
"""More would hold that many decoded images and open files, and be no faster."""


def read_image(path: str | os.PathLike[str]) -> Pixels:
    """One image file as RGB pixels: uint8, shape (height, width, 3).

    Greyscale, palette and CMYK images are converted, an alpha channel is dropped, of an animation the first frame is
    taken. The orientation that a camera writes beside the pixels (EXIF) is not applied, except in TIFF files, where
    Pillow applies it by itself: that is what the loaders of torchvision and timm do, on which networks are trained and
    published figures were made. Whoever needs to know asks `is_turned`, and `left_out` for the rest.

    Raises:
        ImageError: the file is missing, broken, cut short, or holds more than 8 bits a channel.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _decode(file, path)
    except ImageError:
        raise
    # Pillow's decoders raise SyntaxError, ValueError, EOFError, struct.error and others on broken files.
    except Exception as error:
        raise _unreadable(path, error) from error


def decode_image(content: bytes, name: str) -> Pixels:
    """The content of an image file as RGB pixels, as `read_image` gives them.

    Args:
        content: of the file.
        name: what messages call it.

    Raises:
        ImageError: it is broken, cut short, or holds more than 8 bits a channel.
    """
    try:
        return _decode(io.BytesIO(content), name)
    except ImageError:
        raise
    # As in `read_image`.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"Image {name} cannot be read: {reason}.", "Replace it, or take it out.") from error


def _decode(file: BinaryIO, name: str | Path) -> Pixels:
    head = file.read(HEAD)
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                return rgb_pixels(image, str(name), head)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"Image {name} has more pixels than Pillow opens.", "Scale it down first.") from None


def rgb_pixels(image: Image.Image, where: str, head: bytes = b"") -> Pixels:
    """The pixels (height, width, 3) of an opened image, as `read_image` gives them.

    Args:
        image: loaded or not.
        where: what messages call it.
        head: its file's first bytes; see `bits_per_channel`.

    Raises:
        ImageError: it holds more than 8 bits a channel.
    """
    depth = bits_per_channel(image, head)
    if depth > 8:
        raise ImageError(
            f"{where} holds more than 8 bits a channel ({depth}; Pillow's mode {image.mode}).",
            "Convert it to an 8-bit image first: attacks and their budgets are defined on 256 levels.",
        )
    image.load()
    if image.mode == "LAB":  # it has no way to RGB but by colour profiles
        from PIL import ImageCms

        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(image, *profiles, outputMode="RGB") or image
    # Premultiplied colours have none but by way of alpha, and a palette with transparency makes Pillow warn.
    if "transparency" in image.info or image.mode in ("RGBa", "La"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    return np.array(image.convert("RGB"))


def _unreadable(path: Path, error: Exception) -> ImageError:
    """What to tell about a file that cannot be opened or decoded."""
    if isinstance(error, FileNotFoundError):
        what = f"is a link to {os.readlink(path)}, which does not exist" if path.is_symlink() else "does not exist"
        return ImageError(f"Image {path} {what}.", "Check the path, or the list that names it.")
    if isinstance(error, OSError) and error.errno is not None:
        hints = {
            errno.EISDIR: "Give an image file.",
            errno.EMFILE: "Raise the limit (see ulimit -n), or use fewer --threads.",
            errno.ENFILE: "Close other programs, or use fewer --threads.",
            errno.EACCES: "Change its permissions, or take it out of the list.",
        }
        hint = hints.get(error.errno, "Check the path, or the list that names it.")
        return ImageError(f"Image {path} cannot be read: {error.strerror}.", hint)
    replace = "Replace the file or take it out of the list."
    with contextlib.suppress(OSError):
        if not path.stat().st_size:
            return ImageError(f"Image {path} cannot be read: it is empty.", replace)
    if isinstance(error, UnidentifiedImageError):
        return ImageError(
            f"Image {path} cannot be read: its content is of no kind that Pillow knows, or is damaged.",
            "Save it as an 8-bit PNG or JPEG, or take it out of the list.",
        )
    reason = " ".join(str(error).split()) or type(error).__name__
    return ImageError(f"Image {path} cannot be read: {reason}.", replace)


def write_png(path: str | os.PathLike[str], pixels: Pixels) -> None:
    """Write pixels (height, width, 3), uint8, as a PNG; afterwards the file is there whole, or as it was before.

    Raises:
        StoreError: the disk is full, or the folder cannot be written.
    """
    write_atomically(path, png_bytes(pixels))


def png_bytes(pixels: Pixels) -> bytes:
    """The content of a PNG with pixels (height, width, 3), uint8."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def pixel_sha256(pixels: Pixels) -> str:
    """SHA-256 of an image's content: its shape and its bytes, whatever file format they were stored in."""
    digest = hashlib.sha256("x".join(map(str, pixels.shape)).encode() + b"\0")
    digest.update(np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()


def grid_tolerance(eps: float) -> float:
    """How far, in levels, a float may lie from the 8-bit grid and still stand for that level.

    Args:
        eps: of the floats' dtype, as `finfo` gives it: of k/255 below 1, half-precision floats lose up to 0.062 levels.
    """
    return max(0.01, 255 * eps / 4 * 1.1)


def to_uint8(values: npt.NDArray[Any], what: str = "images") -> Pixels:
    """Levels 0 to 255 of an array that holds them already, or holds k/255 as floats.

    Raises:
        ImageError: the values are not in [0, 1], or not on the 8-bit grid.
    """
    if values.dtype == np.uint8:
        return values
    if not np.issubdtype(values.dtype, np.floating):
        raise ImageError(f"The {what} are {values.dtype}.", "Give uint8 levels, or floats in [0, 1].")
    levels, tolerance = values.astype(np.float64) * 255, grid_tolerance(float(np.finfo(values.dtype).eps))
    if not (np.isfinite(levels).all() and levels.min(initial=0) > -tolerance):
        raise ImageError(f"The {what} hold values below 0, or NaN.", "Give uint8 levels, or floats in [0, 1].")
    if levels.max(initial=0) > 255 + tolerance:
        raise ImageError(f"The {what} hold values above 1.", "Give uint8 levels, or floats in [0, 1]: divide by 255.")
    nearest = np.rint(levels)
    if np.abs(levels - nearest).max(initial=0) > tolerance:
        raise ImageError(
            f"The {what} are not on the 8-bit grid.",
            "Round them to k/255 first: what counts is the image as it can be saved.",
        )
    return nearest.astype(np.uint8)


def to_unit(pixels: Pixels, dtype: torch.dtype, device: torch.device | str = "cpu") -> torch.Tensor:
    """Levels (N, H, W, 3) as images (N, 3, H, W) in [0, 1]: k/255, rounded once to `dtype`."""
    import torch  # what only reads and writes pictures need not wait for it

    channels_first = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    return channels_first.to(device, dtype) / 255


def read_ahead(
    paths: Sequence[str | os.PathLike[str]],
    threads: int = 4,
    prepare: Callable[[Pixels, str], Pixels] | None = None,
) -> Generator[Pixels, None, None]:
    """The images of `paths` in their order, decoded by a few threads a little ahead of whoever asks.

    Args:
        paths: image files.
        threads: how many images are decoded at a time, at most 64; the images do not depend on it.
        prepare: what is done to the pixels of each, and is told what messages call the image; see `Preparation.apply`.

    Raises:
        ImageError: at the turn of the first image that cannot be read, or that `prepare` refuses.
    """

    def read(path: str | os.PathLike[str]) -> Pixels:
        pixels = read_image(path)
        return pixels if prepare is None else prepare(pixels, f"Image {path}")

    threads = min(max(1, threads), MOST_THREADS)
    waiting: collections.deque[Future[Pixels]] = collections.deque()
    pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="linbp-images")
    try:
        for path in paths:
            waiting.append(pool.submit(read, path))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def size_batches(sizes: Sequence[tuple[int, ...]], batch_size: int) -> list[list[int]]:
    """Indices in batches of one image size each, in the order in which the sizes first come up.

    Args:
        sizes: (height, width) of each image.
        batch_size: the most images in a batch.

    Raises:
        ImageError: the batch size is not positive.
    """
    if batch_size < 1:
        raise ImageError(f"The batch size is {batch_size}.", "Give at least 1.")
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, size in enumerate(sizes):
        groups.setdefault(tuple(size), []).append(index)
    return [group[at : at + batch_size] for group in groups.values() for at in range(0, len(group), batch_size)]


def distances(clean: Pixels, adv_image: Pixels, image_id: str = "") -> tuple[int, float]:
    """L-inf in levels and L2 on the scale of [0, 1] between two images (H, W, 3) of levels.

    Raises:
        ImageError: they differ in shape.
    """
    if clean.shape != adv_image.shape:
        raise ImageError(
            f"The adversarial image of image {image_id!r} has shape {adv_image.shape}, the clean image {clean.shape}.",
            "An adversarial image has its image's size: check that both belong together.",
        )
    difference = clean.astype(np.int64) - adv_image.astype(np.int64)
    return int(np.abs(difference).max(initial=0)), float(np.sqrt(np.square(difference).sum())) / 255
