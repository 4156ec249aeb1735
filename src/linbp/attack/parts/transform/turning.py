"""Pictures turned about their middle."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch.nn import functional

__all__ = ["turned"]


def turned(image: torch.Tensor, degrees: float, mode: Literal["bilinear", "nearest"] = "bilinear") -> torch.Tensor:
    """The image (C, H, W) turned anticlockwise, as seen, about its middle; what comes from outside is zero.

    The value at offset (u, v) from the middle, v downwards, comes from (u cos a - v sin a, u sin a + v cos a).

    Args:
        image: any float dtype.
        degrees: the angle a.
        mode: how values between pixels are found.
    """
    height, width = image.shape[-2:]
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    v = torch.arange(height, dtype=torch.float64)[:, None] - (height - 1) / 2
    u = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    source = torch.stack([(u * cos - v * sin) * 2 / width, (u * sin + v * cos) * 2 / height], dim=-1)
    grid = source.to(image.dtype).to(image.device)[None]
    return functional.grid_sample(image[None], grid, mode=mode, padding_mode="zeros", align_corners=False)[0]
