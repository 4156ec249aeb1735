"""How much room a run takes where it lies, and whether there is so much."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from linbp.bench.plan import AnswerTask, CraftTask, Plan
from linbp.bench.store import Store
from linbp.data.images import png_bytes
from linbp.errors import StoreError

__all__ = ["bytes_of", "check_space"]

RECORD, ANSWER = 700, 40
"""Bytes on disk for an adversarial image's records, and for a victim's answer."""


FEW = 4
"""Images whose PNGs are looked at: encoding large ones takes a while."""


def bytes_of(plan: Plan, crafts: Iterable[CraftTask], asks: Iterable[AnswerTask], *, clean: bool = False) -> int:
    """What some tasks of a plan write, in bytes: adversarial images are as large as the first clean ones.

    Noise makes a PNG larger, so it is rather more.

    Args:
        plan: of the run.
        crafts, asks: the tasks.
        clean: count the clean images that have no files of their own, too.
    """
    sample = plan.images.sample[:FEW]
    png = float(np.mean([len(png_bytes(pixels)) for pixels in sample])) if sample else 0.0
    size = [len(rows) for rows in plan.shards]
    copies = sum(size) if clean and not plan.images.own_files else 0
    return int(
        copies * png
        + sum(size[task.shard] * (png + 2 * RECORD) for task in crafts)
        + sum(size[task.shard] * ANSWER for task in asks)
    )


def check_space(store: Store, needed: int) -> None:
    """Refuse to begin what surely does not fit.

    Args:
        store: where the run lies.
        needed: bytes that it will take, from `bytes_of`.

    Raises:
        StoreError: there is less room; places that do not tell, such as object stores, have enough.
    """
    free = store.free()
    if free is not None and free < needed:
        raise StoreError(
            f"{store.url} has no room for the run: it takes about {_mib(needed)}, and {_mib(free)} are free.",
            "Free some space, choose another folder (--out), or leave attacks or images out.",
        )


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB" if count >= 10 * 2**20 else f"{count / 2**10:,.0f} KiB"
