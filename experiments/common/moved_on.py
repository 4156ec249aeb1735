"""Adversarial images that go as far as they may, in the directions that their pixels have moved."""

from __future__ import annotations

import torch


def moved_on(adv: torch.Tensor, clean: torch.Tensor, levels: int) -> torch.Tensor:
    """Adversarial images each of whose pixels that moved at all is moved on to the radius; other pixels stay.

    Args:
        adv: (N, 3, H, W), in [0, 1], on the 8-bit grid.
        clean: their images, uint8 of the same shape.
        levels: the radius, in steps of 1/255.
    """
    moved = (adv * 255).round().int() - clean.int()
    return (clean.int() + levels * moved.sign()).clamp(0, 255) / 255
