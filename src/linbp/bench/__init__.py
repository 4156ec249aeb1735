"""Whole jobs: several attacks, several victims, one table of results. The package itself is a function:

run = linbp.bench("suite.toml", out="runs/tonight")
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linbp.bench.demo import DemoResult, run_demo
    from linbp.bench.demonstrations import CIFAR10, IMAGENET, Demonstration
    from linbp.bench.estimate import Estimate, estimate
    from linbp.bench.pictures import Answer, PictureRow, draw_picture
    from linbp.bench.run import BenchRun, run_bench
    from linbp.bench.suite import Suite, read_suite
    from linbp.bench.table import SCHEMA, read_results

__all__ = [
    "CIFAR10",
    "IMAGENET",
    "SCHEMA",
    "Answer",
    "BenchRun",
    "DemoResult",
    "Demonstration",
    "Estimate",
    "PictureRow",
    "Suite",
    "draw_picture",
    "estimate",
    "read_results",
    "read_suite",
    "run_bench",
    "run_demo",
]

_HOMES = {
    "CIFAR10": "linbp.bench.demonstrations",
    "IMAGENET": "linbp.bench.demonstrations",
    "SCHEMA": "linbp.bench.table",
    "Answer": "linbp.bench.pictures",
    "BenchRun": "linbp.bench.run",
    "DemoResult": "linbp.bench.demo",
    "Demonstration": "linbp.bench.demonstrations",
    "Estimate": "linbp.bench.estimate",
    "PictureRow": "linbp.bench.pictures",
    "Suite": "linbp.bench.suite",
    "draw_picture": "linbp.bench.pictures",
    "estimate": "linbp.bench.estimate",
    "read_results": "linbp.bench.table",
    "read_suite": "linbp.bench.suite",
    "run_bench": "linbp.bench.run",
    "run_demo": "linbp.bench.demo",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: a table of results is read without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'linbp.bench' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


class _Callable(types.ModuleType):
    """A package that is called: its name is that of the function, and Python has only one place for both."""

    def __call__(self, suite: Any, out: Any, **options: Any) -> BenchRun:
        """`run_bench`, with its arguments."""
        from linbp.bench.run import run_bench

        return run_bench(suite, out, **options)


sys.modules[__name__].__class__ = _Callable
