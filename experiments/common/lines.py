"""Results as lines of JSON in a file that is added to: a script that was interrupted goes on where it was."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

Lines = list[dict[str, Any]]


def read_lines(path: Path) -> Lines:
    """All lines; a half-written one is left out, and there are none where there is no file."""
    found = []
    for text in path.read_text().splitlines() if path.is_file() else ():
        try:
            found.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return found


def add_line(path: Path, line: dict[str, Any]) -> None:
    """Add one line; it is on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(line, separators=(",", ":")) + "\n"
    with path.open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                text = "\n" + text  # this script was killed while it wrote
        file.write(text.encode())
        os.fsync(file.fileno())
