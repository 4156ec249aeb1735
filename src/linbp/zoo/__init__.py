"""CIFAR-10 networks that anyone can train: architectures, settings and presets, and the weights that ship."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linbp.zoo.architectures import ARCHITECTURES, Architecture
    from linbp.zoo.presets import PRESETS, preset
    from linbp.zoo.settings import Training

__all__ = ["ARCHITECTURES", "PRESETS", "WEIGHTS", "Architecture", "Training", "preset"]

WEIGHTS = Path(__file__).parent / "weights"
"""Where the weights that ship with linbp lie."""

_HOMES = {
    "ARCHITECTURES": "linbp.zoo.architectures",
    "Architecture": "linbp.zoo.architectures",
    "PRESETS": "linbp.zoo.presets",
    "preset": "linbp.zoo.presets",
    "Training": "linbp.zoo.settings",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: the weights need no torchvision, which takes seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'linbp.zoo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
