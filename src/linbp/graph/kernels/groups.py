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

__all__ = ["FIRST_GROUP", "GROUP", "GROUP_SIZES", "check_group_size", "computing_facts", "groups_of"]

GROUP = 4
"""The default: large enough for fast kernels, small enough that a single image does not cost that of many."""

FIRST_GROUP = 8
"""The default of the first versions, whose results say nothing of groups. Their bits are those of this size: it leaves
1 x 1 convolutions to torch, where oneDNN computes them with every other size (`pointwise`)."""

GROUP_SIZES = (1, GROUP, FIRST_GROUP, 16, 32)
"""Those that may be chosen. Each has bits of its own: with another number of images, some kernels change."""


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


def computing_facts(size: int, dtype: torch.dtype, compiled: bool) -> dict[str, Any]:
    """What results record about how a surrogate computes, which decides the last bits.

    Nothing of a group size that has no effect, or of that of the first versions, which recorded nothing.

    Args:
        size: of a group.
        dtype: of the network.
        compiled: whether its passes are.
    """
    grouped = {"group_size": size} if dtype == torch.float32 and size != FIRST_GROUP else {}
    return {**grouped, "compiled": True} if compiled else grouped


def groups_of(images: torch.Tensor, size: int | None, least: int, most: int) -> Iterator[tuple[int, torch.Tensor]]:
    """The images as a network gets them, group by group, each with how many of its rows count.

    Args:
        images: (N, C, H, W).
        size: of a group, the last one filled up with copies of an image; None: all of them at once.
        least, most: images that the network takes at a time.
    """
    for group in torch.split(images, min(most, size or max(len(images), 1))):
        missing = min(most, max(least, size or len(group))) - len(group)
        yield len(group), torch.cat([group, group[:1].expand(missing, -1, -1, -1)]) if missing else group
