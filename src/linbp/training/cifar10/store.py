"""The folder of one of the zoo's trainings."""

from __future__ import annotations

import os
from typing import Any

from linbp.errors import StoreError
from linbp.jobs.folder import CHECKPOINT, JobFolder
from linbp.jobs.rows import Rows

__all__ = ["ZooFolder"]


class ZooFolder(JobFolder):
    """`checkpoint.pt` while the training runs, `log.jsonl` with a line an epoch, then the weights and their card.

    Args:
        path: the folder.
        name: of the weights and the card, without their endings.

    Attributes:
        weights, card, page: where the network and its card, as JSON and as Markdown, lie.
        log: the lines of the log.
    """

    COMMAND, LAYOUT = "linbp zoo train", "zoo 1"

    def __init__(self, path: str | os.PathLike[str], name: str) -> None:
        super().__init__(path)
        self.weights, self.card, self.page = (self.path / f"{name}.{end}" for end in ("safetensors", "json", "md"))
        self.log = Rows(self.path / "log.jsonl")
        # A card is what other jobs' manifests are.
        self.marks = (CHECKPOINT, self.card.name)

    def read_card(self) -> dict[str, Any] | None:
        """The card of a finished training; None if there is none."""
        card = self._read_json(self.card)
        if card is not None and not isinstance(card.get("settings"), dict):
            raise StoreError(f"{self.card} is no card of {self.COMMAND}.", "Choose a new folder (--out).")
        return card
