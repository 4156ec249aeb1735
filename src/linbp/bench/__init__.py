"""Whole jobs: several attacks, several victims, one report."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linbp.bench.demo import DemoResult, run_demo
    from linbp.bench.demonstrations import CIFAR10, IMAGENET, Demonstration
    from linbp.bench.pictures import Answer, PictureRow, draw_picture

__all__ = ["CIFAR10", "IMAGENET", "Answer", "DemoResult", "Demonstration", "PictureRow", "draw_picture", "run_demo"]

_HOMES = {
    "CIFAR10": "linbp.bench.demonstrations",
    "IMAGENET": "linbp.bench.demonstrations",
    "Answer": "linbp.bench.pictures",
    "DemoResult": "linbp.bench.demo",
    "Demonstration": "linbp.bench.demonstrations",
    "PictureRow": "linbp.bench.pictures",
    "draw_picture": "linbp.bench.pictures",
    "run_demo": "linbp.bench.demo",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: a table of results is read without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'linbp.bench' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
