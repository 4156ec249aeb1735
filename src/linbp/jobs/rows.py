"""A file of rows, one JSON object per line, that survives the end of a process at any moment."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from linbp.data.files import json_bytes, store_error, write_atomically

__all__ = ["Rows"]


class Rows:
    """The rows of one file, which need not be there.

    Raises:
        StoreError: from every method, where the file cannot be read or written or the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """All rows; a line that was cut short by the end of a process is left out."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise store_error(self.path, error) from error
        rows = []
        for line in lines:
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, dict):
                    rows.append(row)
        return rows

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row; afterwards it is on the disk."""
        try:
            with self.path.open("ab+") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    if file.read(1) != b"\n":  # a line that was cut short must not swallow this one
                        file.write(b"\n")
                file.write(json_bytes(row))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise store_error(self.path, error) from error

    def replace(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Replace all rows at once; where that fails, the rows before are still there."""
        write_atomically(self.path, b"".join(map(json_bytes, rows)))
