"""`linbp list`: recipes and their parts, sources of networks, and protocols."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Literal

import typer

from linbp.cli.guard import guard
from linbp.cli.options import Debug, Json
from linbp.cli.output import add_row, make_table, print_json, stdout

__all__ = ["list_parts"]

Topic = Literal[
    "recipes", "rules", "transforms", "objectives", "estimators", "updates", "starts", "models", "protocols"
]


@guard
def list_parts(
    topic: Annotated[Topic, typer.Argument(help="What to list.")],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List recipes, the parts of recipes, the sources of networks, or protocols.

    [bold]Examples[/bold]

      linbp list recipes

      linbp list transforms

      linbp list models

      linbp list protocols
    """
    found = _sources() if topic == "models" else _protocols() if topic == "protocols" else _parts(topic)
    if json:
        print_json({topic: found})
        return
    console = stdout()
    table = make_table(
        "source" if topic == "models" else "name", "how to name a network" if topic == "models" else "what it is"
    )
    for entry in found:
        add_row(table, entry["name"], entry["summary"])
    console.print(table if found else f"There are no {topic}.", markup=False)
    if topic != "models":
        what = "values, their sources and oddities" if topic == "protocols" else "formula, paper and parameters"
        console.print(f"linbp show NAME prints {what}.")


def _sources() -> list[dict[str, Any]]:
    from linbp.models import SOURCES

    return [{"name": name, "summary": forms} for name, forms in SOURCES.items()]


def _protocols() -> list[dict[str, Any]]:
    from linbp.attack.published_protocols import PROTOCOLS

    return [{"name": name, "summary": protocol.title} for name, protocol in PROTOCOLS.items()]


def _parts(topic: str) -> list[dict[str, Any]]:
    import linbp.attack  # noqa: F401  (registers the parts)
    from linbp.registry import kinds, names

    (kind,) = (kind for kind in kinds() if f"{kind}s" == topic)
    return [
        {"name": name, "summary": (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")}
        for name, thing in names(kind).items()
    ]
