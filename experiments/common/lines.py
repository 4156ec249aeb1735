"""Results as lines of JSON in a file that several processes add to and that any of them may leave torn."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["add_line", "read_lines", "wait_for"]


def read_lines(path: Path) -> list[dict[str, Any]]:
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
        wait_for(file.fileno())
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                text = "\n" + text
        file.write(text.encode())
        os.fsync(file.fileno())


def wait_for(number: int) -> None:
    """Wait until no other process holds an open file, and hold it until it is closed; no effect without such locks."""
    try:
        import fcntl
    except ImportError:  # Windows has none
        return
    fcntl.flock(number, fcntl.LOCK_EX)
