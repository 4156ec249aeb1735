"""`linbp show`: one recipe or part with its formula, paper and parameters; one protocol with its values."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from typing import Annotated, Any

import typer

from linbp.cli.guard import guard
from linbp.cli.options import Debug, Json
from linbp.cli.output import add_row, make_table, print_json, stdout
from linbp.cli.paragraphs import filled
from linbp.cli.show_protocol import show_protocol

__all__ = ["show"]


@guard
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A recipe or part, such as mi, or a protocol.")],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what a recipe or a part does, with formula, paper, parameters and defaults; or what a protocol sets.

    [bold]Examples[/bold]

      linbp show linbp

      linbp show di --json

      linbp show linbp-2020-imagenet
    """
    import linbp.attack  # noqa: F401  (registers the parts)
    from linbp.attack.published_protocols import PROTOCOLS
    from linbp.errors import RecipeError, nearest_name
    from linbp.models import SOURCES
    from linbp.registry import kinds, names

    if name in PROTOCOLS:
        show_protocol(PROTOCOLS[name], json)
        return
    if name in SOURCES:
        raise RecipeError(
            f"{name} is a source of networks, not a part of a recipe.",
            "linbp list models shows how to name a network, and linbp inspect MODEL shows its sites.",
        )
    known = {word for kind in kinds() for word in names(kind)}
    if name not in known:
        inside = [
            word for word in dict.fromkeys(re.findall(r"[\w-]+", re.sub(r"\([^)]*\)?", "", name))) if word in known
        ]
        if inside:
            raise RecipeError(
                f"{name!r} is a recipe of several parts or with parameters.",
                f"Ask for one name at a time: {', '.join(f'linbp show {word}' for word in inside)}.",
            )
        raise RecipeError(
            f"There is no recipe, part or protocol called {name!r}.",
            _by_title(name) or nearest_name(name, {*known, *PROTOCOLS}),
        )
    found = [_describe(kind, name, names(kind)[name]) for kind in kinds() if name in names(kind)]
    if json:
        print_json(found)
        return
    first, *others = found
    same = [entry for entry in others if entry["doc"] == first["doc"]]  # a recipe that is one part and nothing else
    _print({**first, "kind": " and ".join(entry["kind"] for entry in (first, *same))})
    for entry in others:
        if entry not in same:
            _print(entry)


def _by_title(word: str) -> str | None:
    """The hint for a word in the titles of parts, such as momentum, which is `mi` in a recipe."""
    from linbp.registry import kinds, names

    pattern = re.compile(rf"\b{re.escape(word)}\b", re.IGNORECASE)
    found = {
        name: title
        for kind in kinds()
        if kind != "recipe"
        for name, thing in names(kind).items()
        if pattern.search(title := (inspect.getdoc(thing) or "").partition(":")[0].partition(".")[0])
    }
    if not found or len(word) < 4:
        return None
    return f"Did you mean {' or '.join(f'{name} ({title.lower()})' for name, title in found.items())}?"


def _describe(kind: str, name: str, thing: Callable[..., Any]) -> dict[str, Any]:
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


def _print(entry: dict[str, Any]) -> None:
    from linbp.attack.recipe.grammar import write_value

    console = stdout()
    written = [
        one["name"] if one["required"] else f"{one['name']}={write_value(one['default'])}"
        for one in entry["parameters"]
    ]
    call = f"{entry['name']}({', '.join(written)})" if written else entry["name"]
    console.print(f"[bold]{entry['kind']}[/bold]", end=" ")
    console.print(call, markup=False)
    console.print()
    console.print(filled(entry["doc"], console.width), markup=False, soft_wrap=True)
    console.print()
    if entry["parameters"]:
        table = make_table("parameter", "default", "type")
        for one in entry["parameters"]:
            add_row(table, one["name"], "required" if one["required"] else write_value(one["default"]), one["type"])
        console.print(table)
