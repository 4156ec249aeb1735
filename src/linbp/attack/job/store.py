"""A folder of adversarial images on disk: manifest, one PNG and one record an image, safe against an end at any
moment."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from linbp.data.images import Pixels, pixel_sha256, read_image, store_error, write_atomically, write_png
from linbp.data.json_text import json_bytes
from linbp.errors import ImageError, StoreError
from linbp.jobs.lock import LOCK, locked
from linbp.jobs.settings import MANIFEST

__all__ = ["MANIFEST", "RECORDS", "AdversarialFolder"]

RECORDS = "records.jsonl"
FORMAT = 1
"""Version of the manifest's layout."""


class AdversarialFolder:
    """`manifest.json`, `records.jsonl` and `<image id>.png` in one folder.

    An adversarial image counts as finished if it has a record and its PNG's pixels have the record's hash. The PNG is
    written first, so an end between the two leaves an adversarial image without record, which is made again.

    Args:
        path: the folder.

    Raises:
        StoreError: its name is empty.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not os.fspath(path):
            raise StoreError(
                "The name of the folder of adversarial images is empty.", "Name one, or write . for this one."
            )
        self.path = Path(path)

    def adv_path(self, image_id: str) -> Path:
        """Where an image's adversarial image lies."""
        return self.path / f"{image_id}.png"

    def read_manifest(self) -> dict[str, Any] | None:
        """The manifest; None if the folder has none.

        Raises:
            StoreError: it is broken, or of a later layout.
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
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise StoreError(f"{path} is not a manifest of layout {FORMAT}.", "Choose another folder for this job.")
        return manifest

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Put the manifest in place, whole.

        Raises:
            StoreError: the disk is full, or the folder cannot be written.
        """
        write_atomically(self.path / MANIFEST, json_bytes({"format": FORMAT, **manifest}, indent=2))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, hold it against other processes, and clear what a killed run left half-written.

        A job that ends before it wrote anything leaves nothing behind: neither the lock's file nor a folder that was
        made for it.

        Raises:
            StoreError: the folder cannot be made, is not empty and has no manifest, or another process holds it.
        """
        made = self._create()
        with locked(self.path):
            try:
                for left_over in self.path.glob(".*.tmp"):
                    left_over.unlink(missing_ok=True)
                yield
            finally:
                if not (self.path / MANIFEST).exists():
                    with contextlib.suppress(OSError):
                        # Under the lock still: whoever waits for this file finds that it is gone.
                        (self.path / LOCK).unlink(missing_ok=True)
                        for folder in made:
                            folder.rmdir()

    def _create(self) -> list[Path]:
        """Make the folder; which folders had to be made, the deepest first.

        Raises:
            StoreError: the folder cannot be made, or is not empty and has no manifest.
        """
        try:
            made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
            self.path.mkdir(parents=True, exist_ok=True)
            entries = [entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")]
            if entries and MANIFEST not in entries:
                raise StoreError(
                    f"{self.path} is not empty and holds no {MANIFEST} (but {sorted(entries)[0]}).",
                    "Choose a new folder: adversarial images must not be mixed with other files.",
                )
        except OSError as error:
            raise store_error(self.path, error) from error
        return made

    def read_records(self) -> dict[str, dict[str, Any]]:
        """Records by image id, the last one of each; a line that was cut short is left out.

        Raises:
            StoreError: the file cannot be read.
        """
        try:
            lines = (self.path / RECORDS).read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StoreError(f"{self.path / RECORDS} cannot be read: {error.strerror}.", "Check the disk.") from error
        records = {}
        for line in lines:
            # A killed run or a full disk can cut a line anywhere; its image is simply made again.
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict) and "image_id" in record and "sha256" in record:
                    records[record["image_id"]] = record
        return records

    def finished(self, records: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Those of `records` whose PNG is there with the pixels of the record."""
        whole = {}
        for image_id, record in records.items():
            with contextlib.suppress(ImageError):
                if pixel_sha256(read_image(self.adv_path(image_id))) == record["sha256"]:
                    whole[image_id] = record
        return whole

    def write_records(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Replace all records at once.

        Raises:
            StoreError: the disk is full, or the folder cannot be written.
        """
        write_atomically(self.path / RECORDS, b"".join(json_bytes(record) for record in records))

    def add(self, adv_image: Pixels, record: Mapping[str, Any]) -> None:
        """Finish one image: its PNG, then its record.

        Raises:
            StoreError: the disk is full, or the folder cannot be written.
        """
        write_png(self.adv_path(record["image_id"]), adv_image)
        try:
            with (self.path / RECORDS).open("ab") as file:
                file.write(json_bytes(record))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise store_error(self.path / RECORDS, error) from error
