"""From victims' predictions to records, and from records to success rates with intervals."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linbp.evaluation.csv_lines import attack_facts, csv_bytes, write_csv
    from linbp.evaluation.folder import FolderEvaluation, evaluate_folder
    from linbp.evaluation.in_memory import evaluate
    from linbp.evaluation.records import Record
    from linbp.evaluation.result import Evaluation
    from linbp.evaluation.selection import Select, Selection, select_every_victim
    from linbp.evaluation.statistics import Rate, Statistics, rate, summarise
    from linbp.evaluation.victim_input import VictimInput

__all__ = [
    "Evaluation",
    "FolderEvaluation",
    "Rate",
    "Record",
    "Select",
    "Selection",
    "Statistics",
    "VictimInput",
    "attack_facts",
    "csv_bytes",
    "evaluate",
    "evaluate_folder",
    "rate",
    "select_every_victim",
    "summarise",
    "write_csv",
]

_HOMES = {
    "attack_facts": "linbp.evaluation.csv_lines",
    "csv_bytes": "linbp.evaluation.csv_lines",
    "write_csv": "linbp.evaluation.csv_lines",
    "Evaluation": "linbp.evaluation.result",
    "evaluate": "linbp.evaluation.in_memory",
    "FolderEvaluation": "linbp.evaluation.folder",
    "evaluate_folder": "linbp.evaluation.folder",
    "Record": "linbp.evaluation.records",
    "Select": "linbp.evaluation.selection",
    "Selection": "linbp.evaluation.selection",
    "select_every_victim": "linbp.evaluation.selection",
    "Rate": "linbp.evaluation.statistics",
    "Statistics": "linbp.evaluation.statistics",
    "rate": "linbp.evaluation.statistics",
    "summarise": "linbp.evaluation.statistics",
    "VictimInput": "linbp.evaluation.victim_input",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: statistics of a table need no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'linbp.evaluation' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
