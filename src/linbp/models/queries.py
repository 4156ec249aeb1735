"""Models that count what they are asked, and keep what they answered."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

__all__ = ["Queries", "asked_afresh", "queries_left", "queries_of"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Queries:
    """What a model was asked by one process, and ever.

    Attributes:
        images: how many were sent, repetitions included.
        requests: in which they were sent.
        kept: how many questions were answered from what was kept.
        ever: images that were sent by all runs.
    """

    images: int
    requests: int
    kept: int
    ever: int

    def since(self, before: Queries) -> Queries:
        """What was asked after `before`."""
        counts = {name: getattr(self, name) - getattr(before, name) for name in ("images", "requests", "kept")}
        return Queries(**counts, ever=self.ever)


def queries_of(model: Any) -> Queries | None:
    """What a model says that it was asked so far, in its attribute `queries`; None if it does not count."""
    found = getattr(model, "queries", None)
    return found if isinstance(found, Queries) else None


def queries_left(model: Any) -> int | None:
    """How many more images a model may be asked about, in its attribute `left`; None if there is no limit."""
    left = getattr(model, "left", None)
    return left if isinstance(left, int) else None


def asked_afresh(model: Any) -> contextlib.AbstractContextManager[None]:
    """Inside, a model that keeps its answers gives none of those, if it has a method `afresh`."""
    afresh = getattr(model, "afresh", None)
    found: contextlib.AbstractContextManager[None] = contextlib.nullcontext() if afresh is None else afresh()
    return found
