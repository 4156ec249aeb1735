"""How a job says how far it is."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["ProgressCallback"]

ProgressCallback = Callable[[str, int, int], None]
"""Called with a task's name, how much of it is done, and how much there is."""
