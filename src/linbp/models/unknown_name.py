"""What to write instead of a text that names no network."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Collection, Iterable
from pathlib import Path

from linbp.errors import nearest_name

__all__ = ["hint_for"]

CHECKPOINTS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
SHOWN = 5


def hint_for(text: str, words: Collection[str], forms: Iterable[str]) -> str:
    """What to write instead.

    Args:
        text: that names no network.
        words: that may stand before the colon.
        forms: of names, for a text that is like none.
    """
    prefix, colon, _ = text.partition(":")
    if prefix in ("http", "https", "grpc", "grpcs"):
        return "A model on a server of the Open Inference Protocol is oip:http://HOST:PORT/MODEL (docs/http.md)."
    if ".py" in text:
        return _python(text)
    if not colon and (library := _library(text)):
        return library
    if Path(text).suffix.lower() in CHECKPOINTS:
        return (
            "A checkpoint holds weights without their network: write torchvision:NAME@FILE or timm:NAME@FILE, "
            "or build the network in file:path/model.py:function."
        )
    if colon and "Did you mean" in (suggestion := nearest_name(prefix, words)):
        return suggestion
    return "Write " + "; ".join(forms) + "."


def _python(text: str) -> str:
    """For a Python file without the word `file` before it, or without a function."""
    place, end, function = text.partition(".py")
    path, function = Path(place + end), function.lstrip(":")
    if function:
        return f"Write file:{path}:{function}."
    found: list[str] = []
    with contextlib.suppress(OSError, SyntaxError, ValueError):  # it is only read, never run
        found = [one.name for one in ast.parse(path.read_bytes()).body if isinstance(one, ast.FunctionDef)]
    has = f"; its functions: {', '.join(found[:SHOWN])}{', ...' if len(found) > SHOWN else ''}" if found else ""
    return f"Write file:{path}:{found[0] if len(found) == 1 else 'FUNCTION'}, which returns the network{has}."


def _library(text: str) -> str:
    """For the bare name of a network of timm or torchvision; empty for another text."""
    if not text or "/" in text or "\\" in text:
        return ""
    import timm  # both take seconds to import, and only a name that is wrong needs them
    import torchvision  # type: ignore[import-untyped]

    name, at, _ = text.partition("@")
    found = []
    if timm.is_model(name.partition(".")[0]):
        published = timm.list_pretrained(f"{name}*" if "." in name else f"{name}.*")
        known = text if at or name in published else next(iter(published), f"{name}@FILE")
        found.append(f"timm:{known}")
    if name in torchvision.models.list_models(module=torchvision.models):
        weights = next(iter(torchvision.models.get_model_weights(name))).name
        found.append(f"torchvision:{text if at else f'{name}@{weights}'}")
    return f"Write {' or '.join(found)}." if found else ""
