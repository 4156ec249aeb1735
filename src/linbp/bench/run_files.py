"""The files of a run that say what it is: its suite, and what made it."""

from __future__ import annotations

import json
from typing import Any

from linbp.bench.store import Store

__all__ = ["AUDIT", "FACTS", "SUBSTITUTE", "SUITE", "read_object"]

SUITE, FACTS = "suite.toml", "run.json"

AUDIT = "audit.json"
"""Where the run is an audit's: what it was asked and saw besides the table."""
SUBSTITUTE = "substitute"
"""Likewise: the folder of a surrogate that was trained on the model's answers."""


def read_object(store: Store, name: str) -> dict[str, Any] | None:
    """A JSON object in a file of a run; None if there is no such file, or no object in it."""
    content = store.read(name)
    if content is None:
        return None
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
