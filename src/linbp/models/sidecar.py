"""The preprocessing of a `.pt2` or `.onnx` file, read from the JSON file beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from linbp.errors import ModelError, nearest_name

__all__ = ["read_sidecar"]

_FIELDS = ("input_size", "mean", "std", "interpolation", "classes")


def read_sidecar(path: Path) -> dict[str, Any]:
    """The content of `net.json` beside `net.pt2` or `net.onnx`; empty if there is no such file.

    Without the file the network gets RGB in [0, 1], not normalised. Every field is optional: `input_size`
    [channels, height, width], `mean` and `std` (one number a channel, on the scale of [0, 1]), `interpolation`
    (`bilinear`, `bicubic`, `nearest`) and `classes` (the names of the classes in order).

    Raises:
        ModelError: the file is not a JSON object, or has an unknown field or a value of another kind.
    """
    place = path.with_suffix(".json")
    if not place.is_file():
        return {}
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ModelError(f"{place.name} is not readable as JSON: {error}.", _example()) from error
    if not isinstance(content, dict):
        raise ModelError(f"{place.name} holds a {type(content).__name__}, not an object.", _example())
    for field, value in content.items():
        if field not in _FIELDS:
            raise ModelError(f"{place.name} has an unknown field {field!r}.", nearest_name(field, _FIELDS))
        if not _fits(field, value):
            raise ModelError(f"{place.name}: {field} is {str(value)[:60]}.", _example())
    return content


def _fits(field: str, value: Any) -> bool:
    if field == "interpolation":
        return isinstance(value, str)
    kinds: dict[str, tuple[type, ...]] = {
        "input_size": (int,),
        "mean": (int, float),
        "std": (int, float),
        "classes": (str,),
    }
    kind = kinds[field]
    return isinstance(value, list) and all(isinstance(entry, kind) and not isinstance(entry, bool) for entry in value)


def _example() -> str:
    return 'Write {"input_size": [3, 224, 224], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}.'
