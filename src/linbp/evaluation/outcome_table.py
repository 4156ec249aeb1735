"""The evaluation of a folder as a table of results, for statistics that read tables."""

from __future__ import annotations

import hashlib
import json

import pyarrow as pa  # type: ignore[import-untyped]

from linbp.evaluation.csv_lines import attack_facts
from linbp.evaluation.folder import FolderEvaluation
from linbp.evaluation.records import Record

__all__ = ["outcome_table"]


def outcome_table(result: FolderEvaluation) -> pa.Table:
    """One row for each victim and image, with those columns of a run's table that `Outcomes` reads.

    Every image is selected, and counts where the victim has the clean image right. The attack's key is a hash of the
    settings in the manifest.
    """
    settings = result.manifest["settings"]
    attack = attack_facts(result.manifest)
    text = json.dumps(settings, sort_keys=True).encode()
    facts = {
        "surrogate": attack["surrogate"],
        "recipe": attack["recipe"],
        "recipe_text": attack["recipe"],
        "norm": attack["norm"],
        "eps": attack["eps"],
        "eps_text": f"{255 * attack['eps']:.4g}/255" if attack["norm"] == "linf" else f"{attack['eps']:.4g}",
        "steps": attack["steps"],
        "gradients": attack["gradients"],
        "seed": attack["seed"],
        "attack": str(result.folder),
        "attack_key": hashlib.sha256(text).hexdigest(),
        "notes": "; ".join(result.manifest.get("notes", [])) or None,
    }
    targeted = bool(settings["targeted"])
    rows = [
        {
            **facts,
            "victim": evaluation.name,
            "white_box": evaluation.role == "white box",
            "image_id": record.image_id,
            "file": "",
            "label": record.label,
            "clean_prediction": record.clean_prediction,
            "adv_prediction": record.adv_prediction,
            "selected": True,
            "success": _success(record, targeted),
            "linf": record.linf,
            "l2": record.l2,
        }
        for evaluation in result.evaluations
        for record in evaluation.records
    ]
    return pa.Table.from_pylist(rows)


def _success(record: Record, targeted: bool) -> bool | None:
    """Whether the attack succeeded; None where it cannot be counted."""
    counted = record.can_hit if targeted else record.right_on_clean
    return (record.hit if targeted else record.fooled) if counted else None
