"""The folder of one job: manifest, checkpoint and the tuned program."""

from __future__ import annotations

import torch

from linbp.jobs.folder import JobFolder, serialized
from linbp.models import Model
from linbp.models.checkpoint import file_sha256
from linbp.training.fine_tuning.folder import sidecar

__all__ = ["MODEL", "LinearizeFolder"]

MODEL, SIDECAR = "model.pt2", "model.json"


class LinearizeFolder(JobFolder):
    """`manifest.json`, `checkpoint.pt` while the job runs, then `model.pt2` with `model.json` beside it."""

    COMMAND, LAYOUT = "linbp linearize", "linearize 1"

    def write_model(self, model: Model) -> str:
        """The program and its preprocessing, as `--surrogate` takes them; the SHA-256 of the program's file."""
        self.write(SIDECAR, sidecar(model))
        assert model.program is not None
        return file_sha256(self.write(MODEL, serialized(torch.export.save, model.program)))

    def model_sha256(self) -> str | None:
        """SHA-256 of the program's file; None if there is none."""
        path = self.path / MODEL
        return file_sha256(path) if path.is_file() else None
