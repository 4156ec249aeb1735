"""What `linbp list` and `linbp show` say about recipes, parts, protocols and sources of networks.

Asking the parts themselves means importing torch, which takes seconds, so the answers are kept in `catalogue.json`. It
holds for one state of the source files that it was made of (`sources`), and where no other package registers parts;
else the parts are asked. `make format` writes it again.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import typing
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

__all__ = ["CATALOGUE", "catalogue", "live_catalogue"]

CATALOGUE = Path(__file__).with_name("catalogue.json")
SOURCES = ("attack", "rules", "models", "graph/structure", "data/preprocessing.py", "registry", "cli/catalogue.py")
"""Folders and files of the package that the catalogue is made of."""


@cache
def catalogue() -> dict[str, Any]:
    """Parts (`name`, `kind`, `doc`, `parameters`), protocols and sources, from the file where that holds.

    Returns:
        parts: in the order of kinds and of registration; protocols: by name, `facts` and `rows`; models: how to name a
        network, by source.
    """
    if not entry_points(group="linbp.parts") and CATALOGUE.is_file():
        kept: dict[str, Any] = json.loads(CATALOGUE.read_text(encoding="utf-8"))
        if kept["sources"] == sources_sha256():
            return kept
    return live_catalogue()


def sources_sha256() -> str:
    """The hash of every source file that the catalogue is made of."""
    package, digest = Path(__file__).parents[1], hashlib.sha256()
    for place in SOURCES:
        found = package / place
        for path in sorted(found.rglob("*.py")) if found.is_dir() else [found]:
            digest.update(f"{path.relative_to(package).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def live_catalogue() -> dict[str, Any]:
    """The catalogue as the parts, protocols and sources themselves have it."""
    import linbp.attack
    import linbp.models.defences  # noqa: F401
    from linbp.attack.published_protocols import PROTOCOLS
    from linbp.cli.show_protocol import protocol_rows
    from linbp.models import SOURCES as MODELS
    from linbp.registry import kinds, names

    parts = [_describe(kind, name, thing) for kind in kinds() for name, thing in names(kind).items()]
    protocols = {
        name: {"facts": protocol.to_dict(), "rows": protocol_rows(protocol)} for name, protocol in PROTOCOLS.items()
    }
    return {"sources": sources_sha256(), "parts": parts, "protocols": protocols, "models": MODELS}


def _describe(kind: str, name: str, thing: Callable[..., Any]) -> dict[str, Any]:
    from linbp.registry.grammar import write_value

    try:
        hints = typing.get_type_hints(thing)
    except Exception:  # of another package, whose names are there for type checkers only
        hints = {}
    parameters = [
        {
            "name": parameter.name,
            "required": parameter.default is parameter.empty,
            "default": None if parameter.default is parameter.empty else _plain(parameter.default),
            "type": _type(hints.get(parameter.name, parameter.annotation)),
            "written": None if parameter.default is parameter.empty else write_value(_plain(parameter.default)),
        }
        for parameter in inspect.signature(thing).parameters.values()
    ]
    return {"name": name, "kind": kind, "doc": inspect.getdoc(thing) or "", "parameters": parameters}


def _type(hint: Any) -> str:
    """A type as `linbp show` prints it: what may be written after the equals sign."""
    inner, origin = typing.get_args(hint), typing.get_origin(hint)
    if origin is typing.Literal:
        return " | ".join(map(str, inner))
    if origin is tuple:
        return f"[{_type(inner[0])}, ...]"
    if inner:
        return " | ".join(_type(one) for one in inner)
    return "none" if hint is type(None) else getattr(hint, "__name__", str(hint))


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
