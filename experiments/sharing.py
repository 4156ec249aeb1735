"""Work that several processes divide among themselves."""

from __future__ import annotations

import argparse
import re

__all__ = ["is_mine", "share_of"]


def share_of(text: str) -> tuple[int, int]:
    """The number of this process, from 1, and how many there are."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no share; write 1/2 and 2/2 for two processes")
    return int(found[1]), int(found[2])


def is_mine(number: int, share: tuple[int, int]) -> bool:
    """Whether the process of that share does this piece of work: pieces are dealt out in turn."""
    return number % share[1] == share[0] - 1
