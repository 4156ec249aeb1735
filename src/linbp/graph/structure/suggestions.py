"""Suggestions for a module path that does not exist."""

from __future__ import annotations

from collections.abc import Collection

from linbp.errors import nearest_name

__all__ = ["suggestions"]

LISTED = 20


def suggestions(path: str, names: Collection[str]) -> str:
    """The children of the longest existing part of a path, or the nearest name, as a hint."""
    parent, deeper = path, True
    while deeper:
        parent = parent.rpartition(".")[0]
        deeper = bool(parent)
        depth = parent.count(".") + 2 if parent else 1
        children = [
            name
            for name in names
            if name and (not parent or name.startswith(parent + ".")) and name.count(".") + 1 == depth
        ]
        if children:
            hint = nearest_name(path, children)
            there = ", ".join(children[:LISTED]) + (", ..." if len(children) > LISTED else "")
            where = f"Inside {parent!r} there are" if parent else "At the top there are"
            return f"{hint} {where}: {there}." if hint.startswith("Did") else f"{where}: {there}."
    return "It has none."
