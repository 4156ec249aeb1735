"""Results as lines of JSON in a file that several processes add to, and work that they divide among themselves."""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
"""One folder a study."""
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
        lock(file.fileno())
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                text = "\n" + text  # another process was killed while it wrote
        file.write(text.encode())
        os.fsync(file.fileno())


def lock(descriptor: int) -> None:
    """Wait until no other process has locked an open file, and lock it until it is closed; Windows has no such lock."""
    try:
        import fcntl
    except ImportError:
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def share_of(text: str) -> tuple[int, int]:
    """The number of this process, from 1, and how many there are, from text such as `1/2`."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no share; write 1/2 and 2/2 for two processes")
    return int(found[1]), int(found[2])


def is_mine(number: int, share: tuple[int, int]) -> bool:
    """Whether the process of that share does this piece of work: pieces are dealt out in turn."""
    return number % share[1] == share[0] - 1
