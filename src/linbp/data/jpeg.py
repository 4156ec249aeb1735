"""JPEG as Pillow writes and reads it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from linbp.data.images import Pixels

__all__ = ["as_jpeg"]


def as_jpeg(pixels: Pixels, quality: int, subsampling: str = "4:2:0") -> Pixels:
    """What is left of an image (H, W, 3) of levels after it was saved as a JPEG of that quality (1 to 95) by Pillow.

    Args:
        pixels: the image.
        quality: of libjpeg's tables.
        subsampling: how colours are stored: at half resolution (`4:2:0`) as is the custom, at half of the width
            (`4:2:2`) or in full (`4:4:4`).
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file).convert("RGB"))
