"""The folders of jobs that end with networks: manifest, checkpoint and trained programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from linbp.jobs.folder import JobFolder, serialized
from linbp.models import Model, weights_sha256
from linbp.models.checkpoint import file_sha256
from linbp.models.refined import LAYOUT as REFINED
from linbp.models.refined import MODEL
from linbp.training.fine_tuning.folder import sidecar

__all__ = ["MODEL", "ProgramFolder", "RefinedFolder"]


class ProgramFolder(JobFolder):
    """`manifest.json`, `checkpoint.pt` while the job runs, then `model.pt2` with `model.json` beside it."""

    def write_model(self, model: Model, name: str = MODEL.removesuffix(".pt2")) -> dict[str, Any]:
        """The program and its preprocessing, as `--surrogate` takes them; what the manifest says of them."""
        self.write(f"{name}.json", sidecar(model))
        assert model.program is not None
        path = self.write(f"{name}.pt2", serialized(torch.export.save, model.program))
        weights = weights_sha256(model.program.state_dict)
        return {"file": path.name, "file_sha256": file_sha256(path), "weights_sha256": weights}

    def has(self, files: Sequence[Mapping[str, Any]]) -> bool:
        """Whether all these files are there, each with its SHA-256."""
        paths = [(self.path / one["file"], one["file_sha256"]) for one in files]
        return all(path.is_file() and file_sha256(path) == known for path, known in paths)


class RefinedFolder(ProgramFolder):
    """A folder of `linbp refine`, which holds what several networks are made of."""

    COMMAND, LAYOUT = "linbp refine", REFINED
