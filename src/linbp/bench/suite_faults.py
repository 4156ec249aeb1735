"""What pydantic finds wrong with a suite, in words that say what to write instead."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from linbp.errors import SuiteError, nearest_name

__all__ = ["faults_of"]


def faults_of(error: ValidationError, model: type[BaseModel], where: str) -> list[SuiteError]:
    """One fault for each thing that is wrong, with its place in the file.

    Args:
        error: what pydantic raised.
        model: what was to be read.
        where: the file.
    """
    return [_fault(found, model, where) for found in error.errors(include_url=False)]


def _fault(found: Mapping[str, Any], model: type[BaseModel], where: str) -> SuiteError:
    place = [step for step in found["loc"] if not _is_tag(step, found["loc"])]
    name, kind, given = _written(place), found["type"], found.get("input")
    if kind == "extra_forbidden":
        known = _fields(model, found["loc"][:-1])
        return SuiteError(f"{where}: there is no key {name}.", nearest_name(str(found["loc"][-1]), known))
    if kind == "missing":
        return SuiteError(f"{where}: {name} is missing.", "Every suite needs it; see the page on the bench.")
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        tags = found["ctx"].get("expected_tags") or "'folder', 'csv', 'cifar10', 'parquet', 'huggingface', 'demo'"
        if kind == "union_tag_not_found":
            return SuiteError(f"{where}: {name}.kind is missing.", f"It is one of: {tags}.")
        tag = str(found["ctx"]["tag"])
        return SuiteError(f"{where}: {name}.kind is {tag!r}.", f"It is one of: {tags}.")
    if kind == "value_error":
        message, _, hint = str(found["ctx"]["error"]).partition("; ")
        return SuiteError(f"{where}{': ' + name if name else ''} {message}.", f"{hint[:1].upper()}{hint[1:]}.")
    text = found["msg"].removeprefix("Input ")
    return SuiteError(f"{where}: {name} is {_short(given)}.", f"It {text}.")


def _is_tag(step: Any, place: tuple[Any, ...]) -> bool:
    """Whether a step of the place is no key of the file, but which of several types pydantic tried."""
    if isinstance(step, int):
        return False
    tags = {"folder", "csv", "cifar10", "parquet", "huggingface", "demo"}
    return (step in tags and place[0] == "data") or step in (
        "str",
        "float",
        "int",
        "constrained-int",
        "constrained-str",
    )


def _written(place: list[Any]) -> str:
    """The place as one writes it: `surrogates[1].name`, counted from 1."""
    text = ""
    for step in place:
        text += f"[{step + 1}]" if isinstance(step, int) else f"{'.' if text else ''}{step}"
    return text


def _fields(model: type[BaseModel], place: tuple[Any, ...]) -> list[str]:
    """The keys of the table at a place."""
    found: list[type[BaseModel]] = [model]
    for step in place:
        if isinstance(step, int):
            continue
        inner = [
            kind for one in found if step in one.model_fields for kind in _models(one.model_fields[step].annotation)
        ]
        tagged = [kind for kind in found if "kind" in kind.model_fields and step in _words(kind)]
        found = inner or tagged or found
    names = {name for kind in found for name in kind.model_fields}
    return sorted(names | {"model", "members", "rule"} if "models" in names else names)


def _words(kind: type[BaseModel]) -> tuple[Any, ...]:
    return typing.get_args(kind.model_fields["kind"].annotation)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every table that an annotation can be."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models(inner)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."
