"""How exposed an image classifier is to attacks made on other networks, and how sure that is.

LinBP (Guo, Li, Chen, NeurIPS 2020) and the attacks it is compared and combined with, on any network.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from linbp.version import __version__

if TYPE_CHECKING:
    from linbp.attack import Ensemble, Pool, Recipe, choose_start, craft
    from linbp.audit.run_audit import run_audit as audit
    from linbp.bench.run import run_bench as bench
    from linbp.errors import LinbpError, LinbpWarning
    from linbp.evaluation import evaluate
    from linbp.graph import Surrogate
    from linbp.models import Model, load_model
    from linbp.rules import ATT, BPA, PNA, SGM, TGR, VDC, ConBP, LinBP

__all__ = [
    "ATT",
    "BPA",
    "PNA",
    "SGM",
    "TGR",
    "VDC",
    "ConBP",
    "Ensemble",
    "LinBP",
    "LinbpError",
    "LinbpWarning",
    "Model",
    "Pool",
    "Recipe",
    "Surrogate",
    "__version__",
    "audit",
    "bench",
    "choose_start",
    "craft",
    "evaluate",
    "load_model",
]

_PACKAGES = ("audit", "bench")
"""Packages that are functions too."""

_HOMES = {
    "ATT": "linbp.rules",
    "BPA": "linbp.rules",
    "PNA": "linbp.rules",
    "TGR": "linbp.rules",
    "VDC": "linbp.rules",
    "ConBP": "linbp.rules",
    "Ensemble": "linbp.attack",
    "Pool": "linbp.attack",
    "LinBP": "linbp.rules",
    "LinbpError": "linbp.errors",
    "LinbpWarning": "linbp.errors",
    "Model": "linbp.models",
    "Recipe": "linbp.attack",
    "SGM": "linbp.rules",
    "Surrogate": "linbp.graph",
    "choose_start": "linbp.attack",
    "craft": "linbp.attack",
    "evaluate": "linbp.evaluation",
    "load_model": "linbp.models",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: `linbp --help` need not wait for torch."""
    if name in _PACKAGES:
        return importlib.import_module(f"linbp.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'linbp' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
