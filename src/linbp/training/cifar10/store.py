"""The folder of one training: checkpoint, log, weights and card, each there whole or as it was before."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from linbp.data.files import store_error
from linbp.errors import StoreError
from linbp.jobs.settings import write_between_checkpoints

__all__ = ["RunFolder"]

CHECKPOINT, LOG = "checkpoint.pt", "log.jsonl"
LAYOUT = "zoo 1"
"""Kind and version of the checkpoint."""


class RunFolder:
    """`checkpoint.pt` while the training runs, `log.jsonl` with a line an epoch, then the weights and their card.

    Args:
        path: the folder.
        name: of the weights and the card, without their endings.
    """

    def __init__(self, path: str | os.PathLike[str], name: str) -> None:
        self.path = Path(path)
        self.weights, self.card, self.page = (self.path / f"{name}.{end}" for end in ("safetensors", "json", "md"))

    def create(self) -> None:
        """Make the folder; refuse one that holds files of something else.

        Raises:
            StoreError: the folder cannot be made, or holds files and neither a checkpoint nor the card.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            entries = sorted(entry.name for entry in self.path.iterdir() if not entry.name.startswith("."))
        except OSError as error:
            raise store_error(self.path, error) from error
        if entries and CHECKPOINT not in entries and self.card.name not in entries:
            raise StoreError(
                f"{self.path} is not empty and holds no training of {self.card.stem} (but {entries[0]}).",
                "Choose a new folder (--out): a training must not be mixed with other files.",
            )

    def sweep(self) -> None:
        """Remove temporary files of runs that were killed; only under the lock."""
        for left_over in self.path.glob(".*.tmp"):
            left_over.unlink(missing_ok=True)

    def read_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint, on the CPU; None if there is none.

        Raises:
            StoreError: it is damaged, or no checkpoint of a training.
        """
        path = self.path / CHECKPOINT
        if not path.exists():
            return None
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        # A damaged file fails in as many ways as there are broken archives.
        except Exception as error:
            raise StoreError(
                f"{path} cannot be read: {' '.join(str(error).split())[:200]}.",
                "Delete it to train again from the beginning.",
            ) from error
        if not isinstance(found, dict) or found.get("format") != LAYOUT:
            raise StoreError(f"{path} is no checkpoint of linbp zoo train.", "Choose a new folder (--out).")
        return found

    def read_card(self) -> dict[str, Any] | None:
        """The card of a finished training; None if there is none.

        Raises:
            StoreError: it is damaged.
        """
        try:
            found = json.loads(self.card.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.card} cannot be read: {error}.", "Choose a new folder (--out).") from error
        if not isinstance(found, dict) or not isinstance(found.get("settings"), dict):
            raise StoreError(f"{self.card} is no card of linbp zoo train.", "Choose a new folder (--out).")
        return found

    def write_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint.

        Raises:
            StoreError: the disk is full, or the folder cannot be written; the one before is still there.
        """
        buffer = io.BytesIO()
        torch.save({"format": LAYOUT, **state}, buffer)
        write_between_checkpoints(self.path / CHECKPOINT, buffer.getvalue())

    def write_log(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Replace the log: one JSON object a line, one line an epoch."""
        lines = [json.dumps(entry, allow_nan=False) + "\n" for entry in history]
        write_between_checkpoints(self.path / LOG, "".join(lines).encode())

    def drop_checkpoint(self) -> None:
        """A finished training needs it no more."""
        (self.path / CHECKPOINT).unlink(missing_ok=True)
