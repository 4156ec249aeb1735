"""The preprocessing of a `.pt2` or `.onnx` file, read from the JSON file beside it."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

from linbp.errors import ModelError, nearest_name
from linbp.models.centre_crop import read_crop
from linbp.models.preprocessing import read_preprocessing

__all__ = ["PREPROCESSING", "read_sidecar"]

PREPROCESSING = ("mean", "std", "interpolation", "resize", "crop")
"""Fields that are arguments of `Model`; `input_size` may also come from the network's own file."""

_FIELDS = ("input_size", *PREPROCESSING, "classes")


_MORE = {".onnx": ("output",), ".tflite": ("output",), ".json": ("arguments",)}
"""Further fields, by the ending of the network's file; a network of torch.hub has only the JSON file."""


def read_sidecar(path: Path) -> dict[str, Any]:
    """The content of `net.json` beside `net.pt2` or `net.onnx`; empty if there is no such file.

    Without the file the network gets RGB in [0, 1], not normalised. Every field is optional: `input_size`
    [channels, height, width] or the side of a square, `mean` and `std` (one number, or one a channel, on the scale of
    [0, 1]), `interpolation` (`bilinear`, `bicubic`, `nearest`), `resize` and `crop` (see `Model`), `classes` (the names
    of the classes in order) and, for `.onnx` and `.tflite`, `output` (which of several outputs holds the logits). The
    file of a network of torch.hub is named itself, and may have `arguments` of the entry.

    Raises:
        ModelError: the file is not a JSON object, or has an unknown field or a value of another kind.
    """
    place, fields = path.with_suffix(".json"), (*_FIELDS, *_MORE.get(path.suffix.lower(), ()))
    if not place.is_file():
        other = path.with_name(path.name + ".json")
        if other.is_file():
            raise ModelError(f"{other.name} is not read.", f"Call it {place.name}.")
        return {}
    try:
        content = json.loads(_text(place.read_bytes()))
    except (ValueError, OSError) as error:
        raise ModelError(f"{place.name} is not readable as JSON: {error}.", _example()) from error
    if not isinstance(content, dict):
        raise ModelError(f"{place.name} holds a {type(content).__name__}, not an object.", _example())
    for field, value in content.items():
        if field not in fields:
            raise ModelError(f"{place.name} has an unknown field {field!r}.", nearest_name(field, fields))
        if not _fits(field, value):
            raise ModelError(f"{place.name}: {field} is {str(value)[:60]}.", _example())
    size = content.get("input_size", (3, 1, 1))
    try:
        size, *_ = read_preprocessing(
            size, content.get("mean", 0.0), content.get("std", 1.0), content.get("interpolation", "bilinear")
        )
        # Without an input size, that of the network's file decides, later.
        if "input_size" in content or "crop" in content:
            read_crop(size[1:] if "input_size" in content else None, content.get("resize"), content.get("crop"))
    except ModelError as error:
        raise ModelError(f"{place.name}: {error.message}", error.hint) from error
    return {**content, **({"input_size": size} if "input_size" in content else {})}


def _text(content: bytes) -> str:
    """JSON as editors write it: UTF-8 or UTF-16, with a byte order mark or without."""
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf_16 else "utf-8-sig")


def _fits(field: str, value: Any) -> bool:
    """Whether a value is of its field's kind; numbers are checked together."""
    if field in ("interpolation", "output"):
        return isinstance(value, str)
    if field == "arguments":
        return isinstance(value, dict)
    if field == "classes":
        return isinstance(value, list) and all(isinstance(entry, str) for entry in value)
    return isinstance(value, list | int | float) and not isinstance(value, bool)


def _example() -> str:
    return 'Write {"input_size": [3, 224, 224], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}.'
