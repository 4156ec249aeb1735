"""Sources of networks that other packages bring: entry points of the group `linbp.sources`."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from torch import nn

from linbp.errors import LinbpError, LinbpWarning, ModelError
from linbp.models.black_box import BlackBox, Classifier
from linbp.models.model import Model
from linbp.models.onnx import OnnxModel
from linbp.registry import import_point, named_point

__all__ = ["GROUP", "help_of_packages", "load_of_package", "names_of_packages"]

GROUP = "linbp.sources"
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]+")
"""What can stand before the colon; a single letter is a drive of Windows."""


def names_of_packages(own: Collection[str]) -> dict[str, tuple[EntryPoint, ...]]:
    """The entry points of each word that stands for a source of another package; several where packages disagree.

    Args:
        own: words that are linbp's, and stay so.
    """
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=GROUP):
        if point.name not in own and WORD.fullmatch(point.name):
            found[point.name] = (*found.get(point.name, ()), point)
    return found


def load_of_package(name: str, rest: str, own: Collection[str]) -> Model | OnnxModel | BlackBox:
    """The network that the source of another package loads.

    Args:
        name: the word before the colon, one of `names_of_packages`.
        rest: what stands behind it.
        own: words that are linbp's.

    Raises:
        ModelError: two packages have the word, the package is broken, its source fails, or returns something else than
            a Model or a classifier.
    """
    points = names_of_packages(own)[name]
    if len(points) > 1:
        raise ModelError(
            f"{name}: stands for the sources of {' and of '.join(map(named_point, points))}.", "Uninstall one of them."
        )
    (point,) = points
    source, fault = _source(point)
    if fault:
        raise ModelError(fault, "Mend the package, or install another version of it.")
    where = named_point(point)
    try:
        made = source.load(rest)
    except (LinbpError, MemoryError):
        raise
    # Another package may raise anything.
    except Exception as error:
        line = (str(error).strip().splitlines() or [""])[0]
        raise ModelError(
            f"{name}:{rest} failed in {where}: {type(error).__name__}: {line}", "This is an error of that package."
        ) from error
    if isinstance(made, Classifier) and not isinstance(made, nn.Module | OnnxModel | BlackBox):
        made = BlackBox(made)
    if isinstance(made, Model | OnnxModel | BlackBox):
        made.source.setdefault("package", where)
        return made
    raise ModelError(
        f"{name}:{rest} of {where} gave a {type(made).__name__}, and no network with preprocessing.",
        "Its load returns a linbp.Model, or an object with name, logits and identity.",
    )


def help_of_packages(own: Collection[str]) -> dict[str, str]:
    """How to name a network of each source of another package.

    Args:
        own: words that are linbp's.

    Warns:
        LinbpWarning: one line for each source that cannot be used.
    """
    found, faults = {}, []
    for point in entry_points(group=GROUP):
        if point.name in own:
            faults.append(
                f"The source {point.name}: of {named_point(point)} cannot be used: linbp has one of that name."
            )
        elif not WORD.fullmatch(point.name):
            faults.append(
                f"The source {point.name!r} of {named_point(point)} cannot be used: letters, digits, - _ . make a name."
            )
    for name, points in names_of_packages(own).items():
        if len(points) > 1:
            faults.append(
                f"{name}: cannot be used: the sources of {' and of '.join(map(named_point, points))} have that name."
            )
            continue
        source, fault = _source(points[0])
        if fault:
            faults.append(fault)
        else:
            found[name] = f"{getattr(source, 'HELP', f'{name}:...')} ({named_point(points[0])})"
    for line in faults:
        warnings.warn(line, LinbpWarning, stacklevel=2)
    return found


def _source(point: EntryPoint) -> tuple[Any, str]:
    """What an entry point names, and in one line why it cannot be used, or nothing."""
    source, fault = import_point(point, "source of networks")
    if not fault and not callable(getattr(source, "load", None)):
        fault = f"The source {point.name}: of {named_point(point)} cannot be used: {point.value} has no function load."
    return source, fault
