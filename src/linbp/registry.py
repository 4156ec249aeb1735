"""The registry of parts: one decorator gives a frozen dataclass its name in the grammar of recipes."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Any, Literal, TypeVar, get_args

from typing_extensions import dataclass_transform

from linbp.errors import RecipeError, nearest_name

__all__ = ["Kind", "find", "grammar_name", "is_part", "kinds", "names", "part", "register", "typed", "typed_name"]

Kind = Literal["recipe", "rule", "transform", "objective", "estimator", "update", "start"]
"""What a part does. Each kind is a word of the documentation; `start` is where the first step begins."""

Class = TypeVar("Class")

_registry: dict[Kind, dict[str, Callable[..., Any]]] = {kind: {} for kind in get_args(Kind)}


def kinds() -> tuple[Kind, ...]:
    """Every kind of part."""
    return get_args(Kind)


def register(kind: Kind, name: str, thing: Callable[..., Any]) -> None:
    """Put one callable under `name`; a second one of the same kind and name is refused.

    Raises:
        ValueError: the name is taken.
    """
    taken = _registry[kind].get(name)
    if taken is not None and taken is not thing:
        raise ValueError(f"{kind} {name!r} is already {taken.__module__}.{taken.__qualname__}")
    _registry[kind][name] = thing


@dataclass_transform(frozen_default=True, kw_only_default=True)
def part(kind: Kind, name: str) -> Callable[[type[Class]], type[Class]]:
    """Class decorator: make a frozen, keyword-only dataclass of the class and register it as `name`.

    Args:
        kind: what the part does.
        name: its word in the grammar of recipes, such as `di`.
    """

    def decorate(cls: type[Class]) -> type[Class]:
        frozen: Any = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
        frozen.kind, frozen.grammar_name = kind, name
        register(kind, name, frozen)
        return cls

    return decorate


def names(kind: Kind) -> dict[str, Callable[..., Any]]:
    """All registered callables of one kind by name, in the order of registration, those of other packages last."""
    load_plugins()
    return dict(_registry[kind])


def find(name: str) -> tuple[Kind, Callable[..., Any]]:
    """The callable that a word of the grammar stands for; named recipes come before parts.

    Raises:
        RecipeError: no such word, with the nearest one.
    """
    load_plugins()
    for kind in kinds():
        if name in _registry[kind]:
            return kind, _registry[kind][name]
    known = {word for kind in kinds() for word in _registry[kind]}
    raise RecipeError(f"There is no recipe or part called {name!r}.", nearest_name(name, known))


def is_part(thing: Any) -> bool:
    """Whether something is an instance of a part."""
    return getattr(thing, "kind", None) in _registry and hasattr(thing, "grammar_name") and not isinstance(thing, type)


def grammar_name(thing: Any) -> str:
    """The word that an instance of a registered part is written with."""
    return str(thing.grammar_name)


_words: contextvars.ContextVar[Callable[[str], str]] = contextvars.ContextVar("words", default=str)


@contextlib.contextmanager
def typed(words: Callable[[str], str]) -> Iterator[None]:
    """Inside, messages call parts by the words that a user typed: `words` gives that of a part's own name."""
    token = _words.set(words)
    try:
        yield
    finally:
        _words.reset(token)


def typed_name(thing: Any) -> str:
    """What messages call an instance of a part: `mifgsm` where `mi` came with that recipe, else its own name."""
    return _words.get()(grammar_name(thing))


@functools.cache
def load_plugins() -> None:
    """Import the parts of other packages: every entry point of the group `linbp.parts` names a module."""
    for point in entry_points(group="linbp.parts"):
        point.load()
