"""The folder of a job that ends with one network: manifest, checkpoint and the trained program."""

from __future__ import annotations

from typing import Any

import torch

from linbp.jobs.folder import JobFolder, serialized
from linbp.models import Model, weights_sha256
from linbp.models.checkpoint import file_sha256
from linbp.models.refined import MODEL
from linbp.training.fine_tuning.folder import sidecar

__all__ = ["MODEL", "ProgramFolder"]


class ProgramFolder(JobFolder):
    """`manifest.json`, `checkpoint.pt` while the job runs, then `model.pt2` with `model.json` beside it."""

    def write_model(self, model: Model) -> dict[str, Any]:
        """The program and its preprocessing, as `--surrogate` takes them; what the manifest says of them."""
        self.write("model.json", sidecar(model))
        assert model.program is not None
        path = self.write(MODEL, serialized(torch.export.save, model.program))
        weights = weights_sha256(model.program.state_dict)
        return {"file": MODEL, "file_sha256": file_sha256(path), "weights_sha256": weights}

    def has(self, known: str) -> bool:
        """Whether the program's file is there and has this SHA-256."""
        path = self.path / MODEL
        return path.is_file() and file_sha256(path) == known
