"""`linbp list`: recipes and their parts, sources of networks, and protocols."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from linbp.cli.catalogue import catalogue
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
    found = _entries(topic)
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


def _entries(topic: str) -> list[dict[str, Any]]:
    known = catalogue()
    if topic == "models":
        return [{"name": name, "summary": forms} for name, forms in known["models"].items()]
    if topic == "protocols":
        return [{"name": name, "summary": one["facts"]["title"]} for name, one in known["protocols"].items()]
    return [
        {"name": part["name"], "summary": part["doc"].partition("\n\n")[0].replace("\n", " ")}
        for part in known["parts"]
        if f"{part['kind']}s" == topic
    ]
