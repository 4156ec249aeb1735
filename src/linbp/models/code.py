"""What the code of a function or a class consists of: its instructions, and whatever those reach by name."""

from __future__ import annotations

import functools
import sys
import sysconfig
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = [
    "cells_of",
    "in_installed_file",
    "is_installed",
    "package",
    "parts_of_class",
    "parts_of_code",
    "parts_of_function",
]

OWN = Path(__file__).parents[1]
"""The folder of linbp."""

Parts = Iterator[tuple[str, Any]]

NOT_RUN = frozenset({"__module__", "__doc__", "__dict__", "__weakref__", "__annotations__", "_abc_impl"})
"""Entries of a class that compute nothing."""


def package(thing: Any) -> str:
    """The package that a function, a class or a Python module belongs to."""
    return _module_name(thing).partition(".")[0]


def is_installed(thing: Any) -> bool:
    """Whether it comes from an installed package, or from Python itself, and not from a file of the user's own."""
    return _is_installed(_module_name(thing))


def _module_name(thing: Any) -> str:
    return str(thing.__name__ if isinstance(thing, types.ModuleType) else getattr(thing, "__module__", None) or "")


@functools.cache
def _is_installed(module: str) -> bool:
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and in_installed_file(file)


def parts_of_function(function: types.FunctionType) -> Parts:
    """Instructions, defaults, and the globals that its names stand for."""
    yield "code", function.__code__
    yield "defaults", function.__defaults__
    yield "options", function.__kwdefaults__
    names = _names(function.__code__)
    for name in names:
        found = function.__globals__.get(name)
        if isinstance(found, types.ModuleType) and not is_installed(found):
            yield from ((f"{name}.{inner}", vars(found)[inner]) for inner in names if inner in vars(found))
        yield name, found


def cells_of(function: types.FunctionType) -> Parts:
    """The variables of functions around it that it reads."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # a variable that has no value yet
            continue


def parts_of_code(code: types.CodeType) -> Parts:
    """Instructions, names and constants; no places in files, so that a comment changes nothing."""
    yield "instructions", code.co_code
    yield "caught", getattr(code, "co_exceptiontable", b"")
    yield "names", (code.co_names, code.co_freevars, code.co_varnames[: code.co_argcount])
    yield "constants", code.co_consts


def parts_of_class(kind: type) -> Parts:
    """Its bases, and all that its body defines."""
    yield "bases", kind.__bases__
    yield from ((name, vars(kind)[name]) for name in sorted(vars(kind)) if name not in NOT_RUN)


def _names(code: types.CodeType) -> tuple[str, ...]:
    """All names in the code, that of functions inside it included."""
    inner = [name for part in code.co_consts if isinstance(part, types.CodeType) for name in _names(part)]
    return tuple(dict.fromkeys([*code.co_names, *inner]))


def in_installed_file(file: str) -> bool:
    """Whether a file belongs to an installed package, to Python or to linbp, and not to the user."""
    folders = [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")]
    return file.startswith("<") or any(Path(file).is_relative_to(folder) for folder in (*folders, OWN))
