"""How many images a CPU computes at a time in float32: always the same number, so that bits depend on no companion.

CPU libraries choose kernels by the number of images, and their last bits differ. One different sign is enough to change
thousands of pixels some steps later, so an image's adversarial image would depend on the others in its batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from linbp.errors import RecipeError
from linbp.validation import plain_whole

__all__ = ["GROUP", "GROUP_SIZES", "check_group_size", "group_fact", "groups_of"]

GROUP = 8
"""The default: adversarial images of earlier versions have its bits."""

GROUP_SIZES = (1, 4, GROUP, 16, 32)
"""Those that may be chosen. Each has bits of its own: with another number of images, some kernels change, and with all
but the default, oneDNN computes 1 x 1 convolutions (`pointwise`)."""

SMALL_GROUP = 4
"""Images of a last group, where there are no more: four get the bits of eight."""


def check_group_size(size: Any) -> int:
    """Refuse a group size that may not be chosen.

    Raises:
        RecipeError: it may not.
    """
    found = plain_whole(size)
    if type(found) is not int or found not in GROUP_SIZES:
        raise RecipeError(
            f"group_size is {size!r}.",
            f"Use one of: {', '.join(map(str, GROUP_SIZES))} (docs/performance.md says what each costs).",
        )
    return found


def group_fact(size: int) -> dict[str, int]:
    """What results record about a surrogate's group size: nothing where it is the default, as in earlier versions."""
    return {} if size == GROUP else {"group_size": size}


def groups_of(images: torch.Tensor, size: int | None, least: int, most: int) -> Iterator[tuple[int, torch.Tensor]]:
    """The images as a network gets them, group by group, each with how many of its rows count.

    Args:
        images: (N, C, H, W).
        size: of a group, the last one filled up with copies of an image; None: all of them at once.
        least, most: images that the network takes at a time.
    """
    for group in torch.split(images, min(most, size or max(len(images), 1))):
        unit = SMALL_GROUP if size == GROUP else size or 1
        missing = min(most, max(least, -(-len(group) // unit) * unit)) - len(group)
        yield len(group), torch.cat([group, group[:1].expand(missing, -1, -1, -1)]) if missing else group
