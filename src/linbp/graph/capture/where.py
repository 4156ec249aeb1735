"""Where in the user's code something happened, in words for a message."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

import torch

from linbp.models.code import in_installed_file

__all__ = ["first_line", "place_of", "user_line"]

LINE = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
ADVICE = re.compile(r"For the potential source|Please (file|report)|If you don't know")
"""Where torch begins to speak to its own developers."""


def first_line(fault: BaseException) -> str:
    """An exception's kind and the first line of its message."""
    text = ADVICE.split(str(fault))[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{type(fault).__name__}: {lines[0][:300]}" if lines else type(fault).__name__


def user_line(fault: BaseException) -> str:
    """The last line of the user's own files in a traceback, as `file.py, line 3: `; empty where there is none."""
    frames = [frame for frame in traceback.extract_tb(fault.__traceback__) if not in_installed_file(frame.filename)]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}: " if frames else ""


def place_of(node: torch.fx.Node) -> str:
    """Where an operation of a captured graph comes from, as ` in 'layer1' (file.py, line 3)`."""
    paths = [str(path) for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path]
    inside = f" in {paths[-1]!r}" if paths else ""
    lines = [
        found for found in LINE.finditer(node.meta.get("stack_trace") or "") if not in_installed_file(found["file"])
    ]
    return inside + (f" ({Path(lines[-1]['file']).name}, line {lines[-1]['line']})" if lines else "")
