"""The folder of one job: manifest, checkpoint and the tuned program, each there whole or as it was before."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from linbp.data.files import MANIFEST, json_bytes, store_error
from linbp.errors import StoreError
from linbp.jobs.settings import write_between_checkpoints
from linbp.models import Model
from linbp.models.checkpoint import file_sha256

__all__ = ["MODEL", "JobFolder"]

CHECKPOINT, MODEL, SIDECAR = "checkpoint.pt", "model.pt2", "model.json"
LAYOUT = "linearize 1"
"""Kind and version of the manifest."""


class JobFolder:
    """`manifest.json`, `checkpoint.pt` while the job runs, then `model.pt2` with `model.json` beside it.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def create(self) -> None:
        """Make the folder; refuse one that holds files of something else.

        Raises:
            StoreError: the folder cannot be made, or is not empty and has no manifest.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            entries = [entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")]
        except OSError as error:
            raise store_error(self.path, error) from error
        if entries and MANIFEST not in entries:
            raise StoreError(
                f"{self.path} is not empty and holds no {MANIFEST} (but {sorted(entries)[0]}).",
                "Choose a new folder: a job must not be mixed with other files.",
            )

    def sweep(self) -> None:
        """Remove temporary files of runs that were killed; only under the lock."""
        for left_over in self.path.glob(".*.tmp"):
            left_over.unlink(missing_ok=True)

    def read_manifest(self) -> dict[str, Any] | None:
        """The manifest without its `format`; None if there is none.

        Raises:
            StoreError: it is broken, or that of another kind of job.
        """
        path = self.path / MANIFEST
        try:
            manifest = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except NotADirectoryError as error:
            raise store_error(self.path, error) from error
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read: {error}.", "Choose another folder for this job.") from error
        if not isinstance(manifest, dict) or manifest.pop("format", None) != LAYOUT:
            raise StoreError(
                f"{self.path} holds another job: its {MANIFEST} was not written by linbp linearize.",
                "Choose another folder for this job.",
            )
        return manifest

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Put the manifest in place.

        Raises:
            StoreError: the disk is full, or the folder cannot be written.
        """
        write_between_checkpoints(
            self.path / MANIFEST, json_bytes({"format": LAYOUT, **manifest}, indent=2, allow_nan=False)
        )

    def read_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint, on the CPU; None if there is none.

        Raises:
            StoreError: it is damaged.
        """
        path = self.path / CHECKPOINT
        if not path.is_file():
            return None
        try:
            found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        # A damaged file fails in as many ways as there are broken archives.
        except Exception as error:
            raise StoreError(
                f"{path} cannot be read: {' '.join(str(error).split())[:200]}.",
                "Delete it to start again from the beginning.",
            ) from error
        return found

    def write_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint.

        Raises:
            StoreError: the disk is full, or the folder cannot be written; the one before is still there.
        """
        write_between_checkpoints(self.path / CHECKPOINT, _written(torch.save, dict(state)))

    def drop_checkpoint(self) -> None:
        """A finished job needs it no more."""
        (self.path / CHECKPOINT).unlink(missing_ok=True)

    def write_model(self, model: Model) -> str:
        """The program and its preprocessing, as `--surrogate` takes them; the SHA-256 of the program's file.

        Raises:
            StoreError: the disk is full, or the folder cannot be written.
        """
        facts: dict[str, Any] = {
            "input_size": list(model.input_size),
            "mean": list(model.mean),
            "std": list(model.std),
            "interpolation": model.interpolation,
        }
        if model.class_names:
            facts["classes"] = list(model.class_names)
        write_between_checkpoints(self.path / SIDECAR, json_bytes(facts, indent=2))
        assert model.program is not None
        write_between_checkpoints(self.path / MODEL, _written(torch.export.save, model.program))
        return self.model_sha256() or ""

    def model_sha256(self) -> str | None:
        """SHA-256 of the program's file; None if there is none."""
        path = self.path / MODEL
        return file_sha256(path) if path.is_file() else None


def _written(save: Callable[[Any, io.BytesIO], None], thing: Any) -> bytes:
    """What one of torch's savers writes of a thing.

    Where Ctrl-C cuts it short, torch complains of a file that is not whole; it is Ctrl-C all the same.
    """
    buffer = io.BytesIO()
    try:
        save(thing, buffer)
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            cause = cause.__cause__ or cause.__context__
        raise
    return buffer.getvalue()
