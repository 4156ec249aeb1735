"""Networks in folders that linbp wrote: one, or one in several versions of its weights, or draws of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from linbp.errors import ModelError
from linbp.models.model import Model
from linbp.models.program import load_known
from linbp.models.sampled import METHOD, load_sampled

__all__ = ["LAYOUT", "Refined", "load", "refuse_turns"]

MANIFEST, LAYOUT = "manifest.json", "refine 1"
"""Where a folder says what it holds, and its `format`."""
PROGRAMS, MODEL = ("linearize 1", "substitute 1"), "model.pt2"
"""The `format` of folders that hold one network, and the network's file."""


class Refined(Model):
    """A network in several versions of its weights, of which an attack takes another one at each step.

    By itself it is the first of them.

    Args:
        first: the network with the weights of the first turn.
        programs: the file of each turn, and its SHA-256.
        name: what results call it.
        source: further facts for the results.

    Attributes:
        turns: how many there are.
    """

    def __init__(
        self, first: Model, programs: Sequence[tuple[Path, str]], *, name: str, source: Mapping[str, Any]
    ) -> None:
        super().__init__(
            first.module,
            **first.preprocessing_arguments,
            name=name,
            source=source,
            program=first.program,
        )
        self.class_names, self.dynamic_batch = first.class_names, first.dynamic_batch
        self.programs, self.turns = tuple(programs), len(programs)
        self.alone = self.programs[0][0]

    def of_turn(self, number: int) -> Model:
        """The network with the weights of one turn, on this one's device, read from its file.

        Raises:
            ModelError: the file is not there, or another one.
        """
        return load_known(*self.programs[number]).to(self.device)


def load(folder: Path) -> Model:
    """The network of a folder that linbp refine, linbp linearize or linbp substitute wrote.

    Raises:
        ModelError: it is no such folder, not finished, or a file of it is missing or another one.
    """
    again = "Run the same command again: it goes on where it ended."
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder} is a folder, and holds no network that linbp made ({error}).",
            "Name the network's file in it; or a folder that linbp refine, linearize or substitute wrote.",
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") not in (LAYOUT, *PROGRAMS):
        raise ModelError(
            f"{folder} is a folder, and its {MANIFEST} names no network.",
            "Name the network's file in it, such as model.pt2.",
        )
    if not manifest.get("finished"):
        raise ModelError(f"{folder} is not finished.", again)
    result = manifest["result"]
    if manifest["format"] in PROGRAMS:
        if not (folder / MODEL).is_file():
            raise ModelError(f"{folder} lacks {MODEL}.", again)
        model = load_known(folder / MODEL, str(result["file_sha256"]))
        if "victim" in manifest["settings"]:
            victim = manifest["settings"]["victim"]["name"]
            facts = {"victim": victim, "queries": manifest["queries"], "agreement": result["agreement"]}
            model.source["substitute"] = facts
        return model
    files = result["files"] if manifest["method"] == METHOD else result["snapshots"]
    programs = [(folder / one["file"], str(one["file_sha256"])) for one in files]
    if missing := [path.name for path, _ in programs if not path.is_file()]:
        raise ModelError(f"{folder} lacks {missing[0]}.", again)
    if manifest["method"] == METHOD:
        return load_sampled(folder, manifest)
    digest = hashlib.sha256("".join(known for _, known in programs).encode()).hexdigest()
    source = {
        "refined": manifest["method"],
        "file_sha256": programs[0][1],
        "snapshots": len(programs),
        "snapshots_sha256": digest,
    }
    return Refined(load_known(*programs[0]), programs, name=folder.resolve().name, source=source)


def refuse_turns(model: Any) -> None:
    """Refuse a network whose weights take turns where one network is asked.

    Raises:
        ModelError: it is one.
    """
    if isinstance(model, Model) and model.alone is not None:
        raise ModelError(
            f"{model.name} is a refined surrogate of {model.turns} networks, and a victim is one.",
            f"Name one network, such as {model.alone}.",
        )
