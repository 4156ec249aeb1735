"""OPS: many noises, and many chains of basic operations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from linbp.attack.context import Context
from linbp.attack.parts.transform.base import Transform
from linbp.attack.parts.transform.diverse_inputs import padded_at_random
from linbp.attack.parts.transform.turning import turned
from linbp.randomness import Draws
from linbp.registry import part
from linbp.validation import whole

__all__ = ["OPERATIONS", "OperatorSampling"]

RADII = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""Of the noises, in multiples of twice eps."""
CHAINS = (2, 3, 4)
"""How many operations come after each other."""
ANGLES = (5, -5, 15, -15, 45, -45, 90, -90, 180)
DIVISORS = (2, 3, 4, 5, 6, 7, 8)
SCALES = (1.1, 1.3, 1.5, 1.7, 1.9, 2.1, 2.3, 2.5, 2.7, 2.9)

Change = Callable[[torch.Tensor, np.random.Generator], torch.Tensor]
"""One operation on an image (C, H, W)."""


def _rolled(axis: int) -> Change:
    return lambda image, draw: image.roll(int(draw.integers(image.shape[axis])), dims=axis)


def _turned(degrees: float) -> Change:
    return lambda image, draw: turned(image, degrees, "nearest")


def _divided(divisor: int) -> Change:
    return lambda image, draw: image / divisor


def _padded(scale: float) -> Change:
    def change(image: torch.Tensor, draw: np.random.Generator) -> torch.Tensor:
        height = image.shape[-2]
        if int(height * scale) <= height:
            return image
        new_height = int(draw.integers(height, int(height * scale)))
        return padded_at_random(image[None], new_height, scale, draw, "bilinear")[0]

    return change


OPERATIONS: dict[str, Change] = {
    "identity": lambda image, draw: image,
    "flip down": lambda image, draw: image.flip(1),
    "flip across": lambda image, draw: image.flip(2),
    "shift down": _rolled(1),
    "shift across": _rolled(2),
    **{f"turn {angle}": _turned(angle) for angle in ANGLES},
    **{f"divide by {divisor}": _divided(divisor) for divisor in DIVISORS},
    **{f"enlarge {scale}": _padded(scale) for scale in SCALES},
}
"""The 31 basic operations."""


@part("transform", "ops")
class OperatorSampling(Transform):
    """Operator and perturbation sampling: the mean gradient over noises and chains of operations.

        g = mean over nu, O of d/dx J(O(x + nu)),    nu ~ U(-2 l eps, 2 l eps),    l from 0.25, 0.5, ..., 1.5

    O is a chain of 2, 3 or 4 operations, each one of 31, all uniform: identity; two flips; shifts down and across by
    U{0 ... side - 1}, what leaves coming in on the other side; turns by 5, 15, 45 and 90 degrees in both directions and
    by 180 (nearest neighbour, black outside); division by 2 to 8; diverse inputs with scale 1.1, 1.3, ..., 2.9 and
    probability 1 (bilinear). Every noise meets every chain; both are drawn for each image and step. Nothing is clipped.
    Guo et al., CVPR 2025: 30 noises and 30 chains, so 900 gradients a step. TransferAttack (no code of the authors was
    found) adds the plain gradient, one of 901, draws noises from 180 that stay the same over all steps, and shares
    noises and chains within a batch.

    Args:
        operators: how many chains, at least 1.
        noises: how many noises, at least 1. A step takes operators x noises gradients.
    """

    operators: int = 30
    noises: int = 30

    def __post_init__(self) -> None:
        whole(self, "operators", least=1)
        whole(self, "noises", least=1)

    @property
    def copies(self) -> int:
        """One for each noise and chain."""
        return self.operators * self.noises

    def apply(self, images: torch.Tensor, context: Context, draws: Draws, copy: int) -> torch.Tensor:
        """The images with one noise, through one chain."""
        noise, operator = divmod(copy, self.operators)
        levels = [2 * float(draw.choice(RADII)) for draw in draws.generators(f"ops radius {noise}")]
        radius = torch.tensor(levels, dtype=images.dtype, device=images.device).view(-1, 1, 1, 1)
        noisy = images + context.budget.sample(draws, f"ops noise {noise}", radius)
        rows = zip(noisy, draws.generators(f"ops operator {operator}"), strict=True)
        return torch.stack([_through_chain(image, draw) for image, draw in rows])


def _through_chain(image: torch.Tensor, draw: np.random.Generator) -> torch.Tensor:
    changes = list(OPERATIONS.values())
    for index in draw.integers(len(changes), size=int(draw.choice(CHAINS))):
        image = changes[int(index)](image, draw)
    return image
