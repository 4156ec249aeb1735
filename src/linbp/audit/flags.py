"""Flags: reasons to doubt an audit's own figures."""

from __future__ import annotations

import dataclasses

__all__ = ["Flag"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flag:
    """A reason to doubt a figure.

    Attributes:
        kind: for machines.
        text: a sentence or two: what was seen, and what to do about it.
        serious: whether the verdict should not be relied on before this is cleared up.
    """

    kind: str
    text: str
    serious: bool = False
