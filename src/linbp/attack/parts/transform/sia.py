"""SIA: each block of the picture is changed in a way of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch.nn import functional

from linbp.attack.context import Context
from linbp.attack.parts.transform.base import Transform
from linbp.attack.parts.transform.cosine import cosine_transform, inverse_cosine_transform
from linbp.randomness import Draws
from linbp.registry import part
from linbp.validation import one_of, whole

__all__ = ["StructureInvariant", "Way", "change_block"]

Operations = Literal["ten", "seven"]
Operation = Literal[
    "vertical_shift",
    "horizontal_shift",
    "vertical_flip",
    "horizontal_flip",
    "rotate180",
    "scale",
    "add_noise",
    "resize",
    "dct",
    "drop_out",
]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
SEVEN = 7
"""How many of them TransferAttack has: all up to the noise."""
NOISE = 16 / 255
LEFT, DROPPED, KEPT = 0.8, 0.4, 0.9
"""Side after `resize`, share of frequencies that `dct` drops on each axis, share of channels that `drop_out` keeps."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """What is done to one block.

    Attributes:
        operation: its name.
        value: pixels of a shift, or factor of a scale.
        noise: what is added, (C, h, w).
        factors: of the channels, (C,).
    """

    operation: Operation
    value: float = 0.0
    noise: torch.Tensor | None = None
    factors: torch.Tensor | None = None

    @classmethod
    def drawn(cls, block: torch.Tensor, operations: int, draw: np.random.Generator) -> Way:
        """A random one for a block, of the first so many operations."""
        operation = OPERATIONS[int(draw.integers(operations))]
        channels, height, width = block.shape
        if operation in ("vertical_shift", "horizontal_shift"):
            return cls(operation=operation, value=int(draw.integers(height if operation[0] == "v" else width)))
        if operation == "scale":
            return cls(operation=operation, value=float(draw.random()))
        if operation == "add_noise":
            noise = draw.uniform(-NOISE, NOISE, (channels, height, width))
            return cls(operation=operation, noise=torch.from_numpy(noise).to(block))
        if operation == "drop_out":
            factors = (draw.random(channels) < KEPT) / KEPT
            return cls(operation=operation, factors=torch.from_numpy(factors).to(block))
        return cls(operation=operation)


@part("transform", "sia")
class StructureInvariant(Transform):
    """Structure invariant transform: the mean gradient at copies whose blocks are each changed in their own way.

    Each axis is cut at blocks - 1 different places, uniform between the pixels. Each block gets one of ten operations,
    uniform: shifted down or to the right by U{0 ... side - 1}, what leaves coming in on the other side; flipped upside
    down, or left to right; turned by half a turn; times U(0, 1); plus U(-16/255, 16/255) for each value, clipped to
    [0, 1]; resized to int(0.8 side) + 1 and back, bilinear, clipped; without the last int(0.4 side) rows and columns of
    its cosine spectrum; with each channel kept with probability 0.9 and divided by it, or black. Drawn for each copy,
    image and step. Wang, Zhang, Zhang: Structure Invariant Transformation for better Adversarial Transferability, ICCV
    2023, arXiv 2309.14700, and its code (xiaosen-wang/SIT). Each step takes `copies` gradients.

    As in that code the noise is 16/255 whatever eps is. There `resize` takes its height from the width of an oblong
    block and `dct` empties blocks below 3 pixels; here height and width are their own and such blocks stay. There the
    choices serve a whole batch. TransferAttack has the first seven (`operations=seven`) and momentum 1, the authors'
    script none.

    Args:
        copies: how many, at least 1.
        blocks: along each axis, at least 1.
        operations: `ten` as the authors, or `seven` as TransferAttack.
    """

    copies: int = 20
    blocks: int = 3
    operations: Operations = "ten"

    def __post_init__(self) -> None:
        whole(self, "copies", least=1)
        whole(self, "blocks", least=1)
        one_of(self, "operations", ("ten", "seven"))

    def apply(self, images: torch.Tensor, context: Context, draws: Draws, copy: int) -> torch.Tensor:
        """The copies of that number."""
        return torch.stack(
            [self._one(image, draw) for image, draw in zip(images, draws.generators(f"sia {copy}"), strict=True)]
        )

    def _one(self, image: torch.Tensor, draw: np.random.Generator) -> torch.Tensor:
        rows, columns = (_lengths(side, self.blocks, draw) for side in image.shape[-2:])
        count = len(OPERATIONS) if self.operations == "ten" else SEVEN
        strips = [
            torch.cat([change_block(b, Way.drawn(b, count, draw)) for b in torch.split(strip, columns, dim=2)], dim=2)
            for strip in torch.split(image, rows, dim=1)
        ]
        return torch.cat(strips, dim=1)


def change_block(block: torch.Tensor, way: Way) -> torch.Tensor:
    """One block (C, h, w), changed."""
    if way.operation in ("vertical_shift", "horizontal_shift"):
        return block.roll(int(way.value), dims=1 if way.operation[0] == "v" else 2)
    if way.operation == "scale":
        return block * way.value
    if way.operation == "add_noise":
        assert way.noise is not None  # drawn with the operation, as the factors are
        return (block + way.noise).clamp(0, 1)
    if way.operation == "drop_out":
        assert way.factors is not None
        return block * way.factors[:, None, None]
    return SIMPLE[way.operation](block)


def _resized(block: torch.Tensor) -> torch.Tensor:
    height, width = block.shape[1:]
    small = _interpolated(block, (int(LEFT * height) + 1, int(LEFT * width) + 1))
    return _interpolated(small, (height, width)).clamp(0, 1)


def _interpolated(block: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(block[None], size=size, mode="bilinear", align_corners=False)[0]


def _low_frequencies(block: torch.Tensor) -> torch.Tensor:
    kept = [torch.arange(side, device=block.device) < side - int(DROPPED * side) for side in block.shape[1:]]
    return inverse_cosine_transform(cosine_transform(block) * (kept[0][:, None] & kept[1]))


SIMPLE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "vertical_flip": lambda block: block.flip(1),
    "horizontal_flip": lambda block: block.flip(2),
    "rotate180": lambda block: block.flip((1, 2)),
    "resize": _resized,
    "dct": _low_frequencies,
}
"""The operations that nothing is drawn for."""


def _lengths(side: int, blocks: int, draw: np.random.Generator) -> list[int]:
    """Of `blocks` pieces between different places; of fewer where the side has not enough pixels."""
    inner = draw.choice(np.arange(1, side), size=min(blocks, side) - 1, replace=False)
    ends = [0, *sorted(inner.tolist()), side]
    return [end - start for start, end in itertools.pairwise(ends)]
