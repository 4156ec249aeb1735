"""Pictures sampled between their pixels, one picture at a time, without torch's own samplers."""

from __future__ import annotations

import math

import torch

__all__ = ["between_pixels", "turned_by_hand"]


def between_pixels(image: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """An image (C, H, W) at places in pixels (h, w), pixel middles being whole; bilinear, zero outside."""
    height, width = image.shape[1:]
    total = torch.zeros(len(image), *rows.shape, dtype=image.dtype)
    for down in (0, 1):
        for across in (0, 1):
            row, column = rows.detach().floor() + down, columns.detach().floor() + across
            weight = (1 - (rows - row).abs()) * (1 - (columns - column).abs())
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            flat = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long()
            total = total + image.flatten(1)[:, flat] * torch.where(inside, weight, 0)
    return total


def turned_by_hand(image: torch.Tensor, degrees: float) -> torch.Tensor:
    """An image (C, H, W) turned anticlockwise about its middle, bilinear."""
    height, width = image.shape[1:]
    angle = math.radians(degrees)
    v = torch.arange(height).double()[:, None].expand(height, width) - (height - 1) / 2
    u = torch.arange(width).double()[None].expand(height, width) - (width - 1) / 2
    columns = u * math.cos(angle) - v * math.sin(angle) + (width - 1) / 2
    rows = u * math.sin(angle) + v * math.cos(angle) + (height - 1) / 2
    return between_pixels(image, rows, columns)
