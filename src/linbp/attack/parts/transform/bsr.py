"""BSR: blocks of the picture are shuffled and turned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from linbp.attack.context import Context
from linbp.attack.parts.transform.base import Transform
from linbp.attack.parts.transform.turning import turned
from linbp.errors import RecipeError
from linbp.randomness import Draws
from linbp.registry import part, typed_name
from linbp.validation import number, whole

__all__ = ["BlockShuffle", "Cuts", "shuffled"]


@dataclass(frozen=True)
class Cuts:
    """How one picture (C, H, W) is cut, turned and put together.

    Attributes:
        axes: 1 for rows and 2 for columns: the axis that is cut first, and the other one.
        lengths: of the strips of the first cut, then of each strip's blocks, the strips in their new order.
        order: in the same order of cuts: what comes where, by old numbers.
        angles: in degrees, one for each strip in the new order.
    """

    axes: tuple[int, int]
    lengths: tuple[tuple[int, ...], ...]
    order: tuple[tuple[int, ...], ...]
    angles: tuple[float, ...]

    @classmethod
    def drawn(cls, shape: tuple[int, ...], blocks: int, angle: float, draw: np.random.Generator) -> Cuts:
        """Random ones for a picture of a shape."""
        first, second = (1, 2) if draw.integers(2) else (2, 1)
        lengths = [_lengths(shape[first], blocks, draw)]
        order = [tuple(draw.permutation(blocks).tolist())]
        angles = tuple(draw.uniform(-angle, angle, blocks).tolist())
        for _ in range(blocks):
            lengths.append(_lengths(shape[second], blocks, draw))
            order.append(tuple(draw.permutation(blocks).tolist()))
        return cls((first, second), tuple(lengths), tuple(order), angles)


@part("transform", "bsr")
class BlockShuffle(Transform):
    """Block shuffle and rotation: the mean gradient at copies whose blocks are shuffled and turned.

    An axis, drawn at random, is cut into `blocks` strips, which are put in a random order; each is turned about its
    middle by its own angle ~ U(-angle, angle), is cut along the other axis into `blocks` pieces, and these are put in a
    random order of their own. Lengths: w_i ~ U(1, 2), round(L w_i / sum w), and the longest takes what is left over.
    What a turned strip has beyond its edges is black; values are bilinear. Everything is drawn for each copy, image and
    step. Wang, He, Wang, Wang: Boosting Adversarial Transferability by Block Shuffle and Rotation, CVPR 2024, arXiv
    2308.10299; numbers and order of operations as in TransferAttack. Each step takes `copies` gradients.

    The authors' code draws 20 layouts once for all steps and images, turns each block by a normal angle of 0.2 rad, and
    cuts 2 x 2 blocks. TransferAttack draws one layout for a batch, and multiplies values at a turned border by their
    weight twice; here it is once.

    Args:
        copies: how many, at least 1.
        blocks: pieces along each axis, at least 1.
        angle: the largest, in degrees, at least 0.
    """

    copies: int = 20
    blocks: int = 3
    angle: float = 24.0

    def __post_init__(self) -> None:
        whole(self, "copies", least=1)
        whole(self, "blocks", least=1)
        number(self, "angle", least=0, most=180)
        if self.blocks == 1 and self.angle == 0:
            raise RecipeError(
                f"{typed_name(self)}(blocks=1, angle=0) would have no effect.", "Give more blocks or an angle."
            )

    def apply(self, images: torch.Tensor, context: Context, draws: Draws, copy: int) -> torch.Tensor:
        """The copies of that number."""
        shape = tuple(images.shape[1:])
        return torch.stack(
            [
                shuffled(image, Cuts.drawn(shape, self.blocks, self.angle, draw))
                for image, draw in zip(images, draws.generators(f"bsr {copy}"), strict=True)
            ]
        )


def shuffled(image: torch.Tensor, cuts: Cuts) -> torch.Tensor:
    """The image (C, H, W), cut, turned and put together."""
    first, second = cuts.axes
    strips = torch.split(image, list(cuts.lengths[0]), dim=first)
    result = []
    for new, old in enumerate(cuts.order[0]):
        strip = strips[old]
        if strip.numel() and cuts.angles[new]:
            strip = turned(strip, cuts.angles[new])
        pieces = torch.split(strip, list(cuts.lengths[new + 1]), dim=second)
        result.append(torch.cat([pieces[piece] for piece in cuts.order[new + 1]], dim=second))
    return torch.cat(result, dim=first)


def _lengths(whole_length: int, count: int, draw: np.random.Generator) -> tuple[int, ...]:
    weights = draw.uniform(1, 2, count)
    lengths = np.round(whole_length * weights / weights.sum()).astype(int)
    lengths[lengths.argmax()] += whole_length - lengths.sum()
    return tuple(lengths.tolist())
