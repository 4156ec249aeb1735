"""An evaluation's records as CSV: one line for each victim and image, with the attack that made it."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Mapping
from typing import Any

from linbp.data.files import write_file
from linbp.evaluation.folder import FolderEvaluation
from linbp.evaluation.records import Record

__all__ = ["attack_facts", "csv_bytes", "write_csv"]


def attack_facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What made a folder of adversarial images: surrogate, recipe, norm, eps in [0, 1], steps, gradients, seed.

    Args:
        manifest: of the folder that `craft_folder` made. The recipe is the one that ran, with the start that was
            chosen; several surrogates are joined by ` and `.
    """
    settings = manifest["settings"]
    surrogate = settings["surrogate"]
    return {
        "surrogate": " and ".join(member["name"] for member in surrogate.get("members", [surrogate])),
        "recipe": (manifest.get("choice") or settings)["recipe"],
        "norm": settings["norm"],
        "eps": settings["eps"],
        "steps": settings["steps"],
        "gradients": manifest["gradients_per_image"],
        "seed": settings["seed"],
    }


def csv_bytes(result: FolderEvaluation) -> bytes:
    """One line for each victim and image: the columns of `Record`, and what made the adversarial image.

    Lines of several folders can be joined: each says which attack it is of, what the victim was to it (`role`), and
    what was noted about all numbers and about the victim's (`notes`).
    """
    attack = attack_facts(result.manifest)
    names = ["victim", *(field.name for field in dataclasses.fields(Record)), "fooled", "hit", *attack, "role", "notes"]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for evaluation in result.evaluations:
        facts = {**attack, "role": evaluation.role, "notes": "; ".join((*result.notes, *evaluation.notes))}
        writer.writerows({"victim": evaluation.name, **record.to_dict(), **facts} for record in evaluation.records)
    return text.getvalue().encode(errors="surrogateescape")


def write_csv(path: str | os.PathLike[str], result: FolderEvaluation) -> None:
    """Write `csv_bytes` to a file.

    Raises:
        StoreError: the file cannot be written.
    """
    write_file(path, csv_bytes(result))
