"""A folder of adversarial images on disk: one PNG and one record an image, beside the manifest."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from linbp.data.images import Pixels, pixel_sha256, read_image, write_png
from linbp.errors import ImageError
from linbp.jobs.folder import JobFolder
from linbp.jobs.rows import Rows

__all__ = ["AdversarialFolder"]


class AdversarialFolder(JobFolder):
    """`manifest.json`, `records.jsonl` and `<image id>.png` in one folder.

    An adversarial image counts as finished if it has a record and its PNG's pixels have the record's hash. The PNG is
    written first, so an end between the two leaves an adversarial image without record, which is made again.
    """

    COMMAND, LAYOUT = "linbp craft", 2

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._rows = Rows(self.path / "records.jsonl")

    def adv_path(self, image_id: str) -> Path:
        """Where an image's adversarial image lies."""
        return self.path / f"{image_id}.png"

    def read_records(self) -> dict[str, dict[str, Any]]:
        """Records by image id, the last one of each; a line that was cut short is left out."""
        records = self._rows.read()
        return {record["image_id"]: record for record in records if {"image_id", "sha256"} <= record.keys()}

    def finished(self, records: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Those of `records` whose PNG is there with the pixels of the record."""
        whole = {}
        for image_id, record in records.items():
            with contextlib.suppress(ImageError):
                if pixel_sha256(read_image(self.adv_path(image_id))) == record["sha256"]:
                    whole[image_id] = record
        return whole

    def write_records(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Replace all records at once."""
        self._rows.replace(records)

    def add(self, adv_image: Pixels, record: Mapping[str, Any]) -> None:
        """Finish one image: its PNG, then its record."""
        write_png(self.adv_path(record["image_id"]), adv_image)
        self._rows.append(record)
