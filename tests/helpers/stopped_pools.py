"""Ctrl-C in the moment in which threads that read images are let go."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest


class Stopped:
    """Thread pools of which one cannot be shut down, because Ctrl-C comes at that moment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen, self.at = 0, 0
        shutdown = ThreadPoolExecutor.shutdown

        def shut(pool: ThreadPoolExecutor, *rest: Any, **options: Any) -> None:
            shutdown(pool, *rest, **options)
            self.seen += 1
            if self.seen == self.at:
                raise KeyboardInterrupt

        monkeypatch.setattr(ThreadPoolExecutor, "shutdown", shut)

    def during(self, number: int) -> None:
        """From now on, the shutdown of that number, from 1; 0: none."""
        self.seen, self.at = 0, number
