"""`linbp show`: one recipe or part with its formula, paper and parameters; one protocol with its values."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from linbp.cli.catalogue import catalogue
from linbp.cli.guard import guard
from linbp.cli.options import Debug, Json
from linbp.cli.output import add_row, make_table, print_json, stdout
from linbp.cli.paragraphs import filled
from linbp.cli.show_protocol import show_protocol
from linbp.errors import RecipeError, nearest_name

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
    known = catalogue()
    parts, protocols = known["parts"], known["protocols"]
    if name in protocols:
        show_protocol(protocols[name], json)
        return
    if name in known["models"]:
        raise RecipeError(
            f"{name} is a source of networks, not a part of a recipe.",
            "linbp list models shows how to name a network, and linbp inspect MODEL shows its sites.",
        )
    words = {part["name"] for part in parts}
    if name not in words:
        inside = [
            word for word in dict.fromkeys(re.findall(r"[\w-]+", re.sub(r"\([^)]*\)?", "", name))) if word in words
        ]
        if inside:
            raise RecipeError(
                f"{name!r} is a recipe of several parts or with parameters.",
                f"Ask for one name at a time: {', '.join(f'linbp show {word}' for word in inside)}.",
            )
        raise RecipeError(
            f"There is no recipe, part or protocol called {name!r}.",
            _by_title(name, parts) or nearest_name(name, {*words, *protocols}),
        )
    found = [part for part in parts if part["name"] == name]
    if json:
        print_json([{**part, "parameters": list(map(_unwritten, part["parameters"]))} for part in found])
        return
    first, *others = found
    same = [entry for entry in others if entry["doc"] == first["doc"]]  # a recipe that is one part and nothing else
    _print({**first, "kind": " and ".join(entry["kind"] for entry in (first, *same))})
    for entry in others:
        if entry not in same:
            _print(entry)


def _unwritten(parameter: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in parameter.items() if key != "written"}


def _by_title(word: str, parts: list[dict[str, Any]]) -> str | None:
    """The hint for a word in the titles of parts, such as momentum, which is `mi` in a recipe."""
    pattern = re.compile(rf"\b{re.escape(word)}\b", re.IGNORECASE)
    found = {
        part["name"]: title
        for part in parts
        if part["kind"] != "recipe" and pattern.search(title := part["doc"].partition(":")[0].partition(".")[0])
    }
    if not found or len(word) < 4:
        return None
    return f"Did you mean {' or '.join(f'{name} ({title.lower()})' for name, title in found.items())}?"


def _print(entry: dict[str, Any]) -> None:
    console = stdout()
    written = [one["name"] if one["required"] else f"{one['name']}={one['written']}" for one in entry["parameters"]]
    call = f"{entry['name']}({', '.join(written)})" if written else entry["name"]
    console.print(f"[bold]{entry['kind']}[/bold]", end=" ")
    console.print(call, markup=False)
    console.print()
    console.print(filled(entry["doc"], console.width), markup=False, soft_wrap=True)
    console.print()
    if entry["parameters"]:
        table = make_table("parameter", "default", "type")
        for one in entry["parameters"]:
            add_row(table, one["name"], "required" if one["required"] else one["written"], one["type"])
        console.print(table)
