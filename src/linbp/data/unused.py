"""What was listed or stored and is not used: counted and named, so that nothing vanishes in silence."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["Unused", "by_kind", "sentence"]

NAMED = 3
"""How many names a sentence has room for."""
RECORDED = 20
"""How many names a manifest keeps."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unused:
    """Things of one kind that are not used.

    Attributes:
        kind: what they are, in the plural, such as `hidden files`.
        names: of all of them.
    """

    kind: str
    names: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Kind, count and first names, for JSON."""
        return {"kind": self.kind, "count": len(self.names), "first": list(self.names[:RECORDED])}

    def __str__(self) -> str:
        names = [_printable(name) for name in self.names[:NAMED]]
        return f"{self.kind} ({len(self.names)}: {', '.join(names)}{', ...' * (len(self.names) > NAMED)})"


def by_kind(found: Iterable[tuple[str, str]]) -> tuple[Unused, ...]:
    """Pairs of a kind and a name, grouped by kind in the order in which the kinds first come up."""
    names: dict[str, list[str]] = defaultdict(list)
    for kind, name in found:
        names[kind].append(name)
    return tuple(Unused(kind=kind, names=tuple(some)) for kind, some in names.items())


def sentence(place: str, unused: Sequence[Unused]) -> str:
    """What is not used of a place, in one line.

    >>> sentence("photos", by_kind([("hidden files", "._x.jpg")]))
    'Not used of photos: hidden files (1: ._x.jpg).'
    """
    return f"Not used of {_printable(place)}: {'; '.join(map(str, unused))}."


def _printable(name: str) -> str:
    """A name without control characters, which a terminal would obey."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode() for letter in name
    )
