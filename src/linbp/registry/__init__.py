"""The registry of parts: one decorator gives a frozen dataclass its name in the grammar of recipes."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import re
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points, packages_distributions, version
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from typing_extensions import dataclass_transform

from linbp.errors import LinbpWarning, RecipeError, nearest_name

__all__ = [
    "Kind",
    "distribution_of",
    "find",
    "grammar_name",
    "home",
    "import_point",
    "is_foreign",
    "is_installed",
    "is_part",
    "kinds",
    "named_point",
    "names",
    "part",
    "register",
    "typed",
    "typed_name",
]

Kind = Literal["recipe", "rule", "transform", "objective", "estimator", "update", "start", "defence"]
"""What a part does. Each kind is a word of the documentation; `start` is where the first step begins, and a `defence`
stands before a victim's name."""

Class = TypeVar("Class")

_registry: dict[Kind, dict[str, Callable[..., Any]]] = {kind: {} for kind in get_args(Kind)}

OWN = "linbp"
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*")
"""What a recipe can name; `none`, `true` and `false` are values, but names do not stand where values do."""
_loading: list[str] = []
"""The entry point whose module is being imported."""
_contested: dict[str, tuple[str, str]] = {}
"""Names that two packages register, with the error's message and hint."""
_faults: list[str] = []
"""What is wrong with other packages, one line each."""
_distributions: dict[str, tuple[str, str]] = {}
"""Name and version of the distribution of each top-level module with parts."""


def kinds() -> tuple[Kind, ...]:
    """Every kind of part."""
    return get_args(Kind)


def register(kind: Kind, name: str, thing: Callable[..., Any]) -> None:
    """Put one callable under `name`; what is defined again, as in a cell of a notebook, takes its own place.

    A name has one meaning: among the parts of installed packages, one that two of them register is refused when it is
    used, and a name of linbp's stays linbp's.

    Raises:
        RecipeError: the name is taken, and this is no package that is loaded by its entry point.
    """
    if kind not in _registry:
        raise RecipeError(f"There is no kind of part {kind!r}.", nearest_name(kind, _registry))
    if not WORD.fullmatch(name):
        raise RecipeError(
            f"{name!r} of {home(thing)} is no word of the grammar of recipes.",
            "Take ASCII letters, digits, - and _, with a letter at the beginning.",
        )
    taken = _taken(kind, name, thing)
    if taken is None:
        _registry[kind][name] = thing
        return
    other, owner = taken
    what = f"The name {name!r} stands for the {other} of {home(owner)} and for the {kind} of {home(thing)}."
    hint = "Give one of the two another name, or uninstall its package."
    if not _loading:
        raise RecipeError(what, hint)
    if _package(owner) != OWN:
        _contested[name] = (what, hint)
    _faults.append(f"{what} {'linbp keeps it.' if _package(owner) == OWN else 'It cannot be used.'} {hint}")


def _taken(kind: Kind, name: str, thing: Callable[..., Any]) -> tuple[Kind, Callable[..., Any]] | None:
    """What else has the name, of whichever kind; a package may give one name to things of several kinds."""
    for other, known in _registry.items():
        owner = known.get(name)
        if owner is None or owner is thing:
            continue
        if (owner.__module__, owner.__qualname__) == (thing.__module__, thing.__qualname__):
            continue
        if other == kind or _package(owner) != _package(thing):
            return other, owner
    return None


def _package(thing: Callable[..., Any]) -> str:
    return thing.__module__.partition(".")[0]


def is_foreign(thing: Any) -> bool:
    """Whether a class or a function comes from elsewhere than linbp."""
    return _package(thing) != OWN


def home(thing: Callable[..., Any]) -> str:
    """Where something was defined, and the distribution that it came with."""
    found = distribution_of(thing.__module__)
    return (
        f"{' '.join(found)} ({thing.__module__}.{thing.__qualname__})"
        if found
        else (f"{thing.__module__}.{thing.__qualname__}")
    )


def distribution_of(module: str) -> tuple[str, str] | None:
    """Name and version of the distribution that a module was installed with, or None."""
    top = module.partition(".")[0]
    if top not in _distributions and top != "__main__" and is_installed(module):
        # Reads the files of all distributions, which takes a second: only where no entry point tells.
        found = packages_distributions().get(top)
        if found:
            _distributions[top] = (found[0], version(found[0]))
    return _distributions.get(top)


def is_installed(module: str) -> bool:
    """Whether a module that is imported lies where packages are installed, or is Python's own."""
    file = getattr(sys.modules.get(module), "__file__", None)
    folders = {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")}
    return file is not None and any(Path(file).is_relative_to(folder) for folder in folders)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def part(kind: Kind, name: str) -> Callable[[type[Class]], type[Class]]:
    """Class decorator: make a frozen, keyword-only dataclass of the class and register it as `name`.

    Args:
        kind: what the part does.
        name: its word in the grammar of recipes, such as `di`.

    Raises:
        RecipeError: the name is taken or is no word of the grammar, there is no such kind, or it decorates no class.
    """

    def decorate(cls: type[Class]) -> type[Class]:
        if not isinstance(cls, type):
            raise RecipeError(
                f"The {kind} {name} of {home(cls)} is no class.",
                "Decorate a class; a function that returns parts is a recipe: register('recipe', name, function).",
            )
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
        RecipeError: no such word, with the nearest one, or one that two packages register.
    """
    load_plugins()
    if name in _contested:
        raise RecipeError(*_contested[name])
    for kind in kinds():
        if name in _registry[kind]:
            return kind, _registry[kind][name]
    known = {word for kind in kinds() for word in _registry[kind]}
    raise RecipeError(f"There is no recipe or part called {name!r}.", " ".join([nearest_name(name, known), *_faults]))


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
    """Import the parts of other packages: every entry point of the group `linbp.parts` names a module.

    A package that cannot be imported is named in a warning, and the others work. What packages print while they are
    imported goes to standard error: standard output holds results.

    Warns:
        LinbpWarning: one line for each package whose parts cannot all be used.
    """
    for point in entry_points(group="linbp.parts"):
        if point.dist is not None:
            _distributions[point.module.partition(".")[0]] = (point.dist.name, point.dist.version)
        said = len(_faults)
        _loading.append(point.value)
        before = {id(thing) for known in _registry.values() for thing in known.values()}
        try:
            _, fault = import_point(point, "parts")
        finally:
            _loading.clear()
        if fault:
            _faults.append(fault)
            continue
        known = [thing for parts in _registry.values() for thing in parts.values()]
        own = point.module.partition(".")[0]
        new = any(id(thing) not in before or _package(thing) == own for thing in known)
        if said == len(_faults) and not new:
            _faults.append(f"The entry point {point.name} of {named_point(point)} registers no part in {point.module}.")
    for fault_line in dict.fromkeys(_faults):
        warnings.warn(fault_line, LinbpWarning, stacklevel=2)


def import_point(point: EntryPoint, what: str) -> tuple[Any, str]:
    """What an entry point of another package names; or None, and why not in one line.

    Args:
        point: the entry point. What its package prints goes to standard error.
        what: what the line says the package has, such as `parts`.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return point.load(), ""
    # Another package may raise anything, and some leave.
    except (Exception, SystemExit) as fault:
        reason = next(iter(str(fault).splitlines()), "")
        return None, (
            f"The {what} of {named_point(point)} cannot be used: importing {point.module} failed with "
            f"{type(fault).__name__}: {reason}"
        )


def named_point(point: EntryPoint) -> str:
    """Name and version of the distribution that an entry point belongs to."""
    return point.value if point.dist is None else f"{point.dist.name} {point.dist.version}"
