"""JSON as bytes of UTF-8, whatever names of files are in it."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["json_bytes"]


def json_bytes(value: Any, *, indent: int | None = None, allow_nan: bool = True) -> bytes:
    """One JSON document and a line's end.

    A byte of a file's name that is not UTF-8 stands in Python's text as half of a surrogate pair; it is written as
    JSON's escape of that, so that reading gives the same name.

    Raises:
        ValueError: a number is NaN or infinite, and that is not allowed.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=allow_nan)
    return (text + "\n").encode(errors="backslashreplace")
