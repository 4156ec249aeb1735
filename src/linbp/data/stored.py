"""What an image file stores beyond 8-bit RGB pixels: depth, transparency, further frames, a colour profile."""

from __future__ import annotations

import io
import os
import re

from PIL import ExifTags, Image

__all__ = ["HEAD", "bits_per_channel", "is_turned", "left_out"]

DEEP_RAW_MODE = re.compile(r"(?!BGR)[A-Za-z]+;16[BLN]|SGI16")
"""Pillow's names of samples of 16 bits; `BGR;16` and `RGB;16` are 16 bits for all three channels."""
HEAD = 1 << 16
"""Bytes in which an AVIF or JPEG 2000 file says how deep it is."""


def bits_per_channel(image: Image.Image, head: bytes = b"") -> int:
    """How many bits a channel of an opened file has; 8 for fewer.

    Pillow reads many deeper files as 8-bit pixels and drops the lower bits. Their depth stands in what it opens but has
    not loaded yet.

    Args:
        image: opened, not loaded.
        head: the file's first bytes, which AVIF and JPEG 2000 files need.
    """
    deepest = 16 if image.mode in ("I", "F") or image.mode.startswith("I;") else 8
    if image.format == "AVIF":
        at = head.find(b"av1C")  # then: version, profile and level, and a byte whose 2nd and 3rd bits are the depth
        flags = head[at + 6] if 0 <= at < len(head) - 6 else 0
        return max(deepest, 12 if flags & 0x60 == 0x60 else 10 if flags & 0x40 else 8)
    if image.format == "JPEG2000":
        at = head.find(b"\xff\x4f\xff\x51")  # the start of the code stream and its first marker, SIZ
        count = int.from_bytes(head[at + 40 : at + 42], "big") if at >= 0 else 0
        return max([deepest, *(1 + (byte & 0x7F) for byte in head[at + 42 : at + 42 + 3 * count : 3])])
    for name, _, _, args in getattr(image, "tile", ()):
        words = [name, *(args if isinstance(args, tuple) else (args,))]
        if any(isinstance(word, str) and DEEP_RAW_MODE.fullmatch(word) for word in words):
            deepest = max(deepest, 16)
        if name in ("ppm", "ppm_plain") and int(words[-1]) > 255:
            deepest = max(deepest, int(words[-1]).bit_length())
        if name == "sgi_rle" and words[-1] == 2:
            deepest = max(deepest, 16)
    return deepest


def is_turned(path: str | os.PathLike[str]) -> bool:
    """Whether viewers show an image otherwise than `read_image` gives it, because a camera noted how it was turned.

    Only the head of the file is read. False for a file that cannot be read: `read_image` says what is wrong with it.
    """
    try:
        with Image.open(path) as image:
            return _turned(image)
    # As in `read_image`: Pillow's decoders share no base class of exceptions.
    except Exception:
        return False


def left_out(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """What `read_image` leaves out of a file, in words: `alpha channels`, `further frames`, `colour profiles`.

    Only the head of the file is read. Nothing for a file that cannot be read: `read_image` says what is wrong with it.
    """
    try:
        with Image.open(path) as image:
            found = []
            if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
                found.append("alpha channels")
            if getattr(image, "is_animated", False):
                found.append("further frames")
            if not _is_srgb(image.info.get("icc_profile")):
                found.append("colour profiles")
            return tuple(found)
    # As in `is_turned`.
    except Exception:
        return ()


def _turned(image: Image.Image) -> bool:
    # A TIFF's orientation is applied when its pixels are read.
    noted = image.getexif().get(ExifTags.Base.Orientation, 1) if "exif" in image.info else 1
    return noted in range(2, 9)


def _is_srgb(profile: bytes | None) -> bool:
    """Whether a colour profile, or none, means the sRGB that pixels are taken for."""
    if not profile:
        return True
    try:
        from PIL import ImageCms

        words = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    # Pillow may lack Little CMS, which has exceptions of its own for broken profiles.
    except Exception:
        words = profile[:1024].replace(b"\0", b"").decode("latin-1")
    return "srgb" in words.lower()
