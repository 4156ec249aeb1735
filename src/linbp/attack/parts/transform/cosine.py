"""The discrete cosine transform of pictures."""

from __future__ import annotations

import functools
import math

import torch

__all__ = ["cosine_transform", "inverse_cosine_transform"]


@functools.lru_cache(maxsize=64)
def _matrix(size: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The orthonormal DCT-II of `size` numbers, one row a frequency."""
    place = torch.arange(size, dtype=torch.float64)
    rows = torch.cos(math.pi / size * (place + 0.5) * place[:, None]) * math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows.to(dtype).to(device)


def cosine_transform(image: torch.Tensor) -> torch.Tensor:
    """The orthonormal two-dimensional DCT of each channel (C, H, W)."""
    down, across = (_matrix(size, image.dtype, image.device) for size in image.shape[-2:])
    return down @ image @ across.t()


def inverse_cosine_transform(spectrum: torch.Tensor) -> torch.Tensor:
    """The picture (C, H, W) of a spectrum."""
    down, across = (_matrix(size, spectrum.dtype, spectrum.device) for size in spectrum.shape[-2:])
    return down.t() @ spectrum @ across
