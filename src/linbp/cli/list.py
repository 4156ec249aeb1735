"""`linbp list`: recipes and their parts, defences of victims, sources of networks, and protocols."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from linbp.cli.catalogue import catalogue
from linbp.cli.guard import guard
from linbp.cli.options import Debug, Json
from linbp.cli.output import add_row, make_table, print_json, stdout

__all__ = ["list_parts"]

Topic = Literal[
    "recipes",
    "rules",
    "transforms",
    "objectives",
    "estimators",
    "updates",
    "starts",
    "defences",
    "models",
    "protocols",
    "suites",
]

HEADS = {"models": ("source", "how to name a network"), "suites": ("name", "what it compares; its file")}
AFTERWARDS = {
    "models": "",
    "protocols": "linbp show NAME prints values, their sources and oddities.",
    "suites": "linbp bench NAME --out runs/NAME runs one; linbp audit MODEL --suite NAME one whose name begins with "
    "exposure. To change one, copy its file.",
}


@guard
def list_parts(
    topic: Annotated[Topic, typer.Argument(help="What to list.")],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List recipes, the parts of recipes, defences, the sources of networks, protocols, or the suites that ship.

    [bold]Examples[/bold]

      linbp list recipes

      linbp list transforms

      linbp list defences

      linbp list models

      linbp list protocols

      linbp list suites
    """
    found = _entries(topic)
    if json:
        print_json({topic: found})
        return
    console = stdout()
    table = make_table(*HEADS.get(topic, ("name", "what it is")))
    for entry in found:
        add_row(table, entry["name"], entry["summary"])
    console.print(table if found else f"There are no {topic}.", markup=False)
    if told := AFTERWARDS.get(topic, "linbp show NAME prints formula, paper and parameters."):
        console.print(told)


def _entries(topic: str) -> list[dict[str, Any]]:
    if topic == "suites":
        from linbp.audit.audit_suite import shipped_audit_suites
        from linbp.bench.suite import shipped_suites

        shipped = {**shipped_suites(), **shipped_audit_suites()}
        return [{"name": name, "summary": _summary(path)} for name, path in shipped.items()]
    known = catalogue()
    if topic == "models":
        return [{"name": name, "summary": forms} for name, forms in {**known["models"], **_of_packages(known)}.items()]
    if topic == "protocols":
        return [{"name": name, "summary": one["facts"]["title"]} for name, one in known["protocols"].items()]
    return [
        {"name": part["name"], "summary": part["doc"].partition("\n\n")[0].replace("\n", " ")}
        for part in known["parts"]
        if f"{part['kind']}s" == topic
    ]


def _of_packages(known: dict[str, Any]) -> dict[str, str]:
    """The sources that other packages bring."""
    if not entry_points(group="linbp.sources"):  # else torch is imported, which takes seconds
        return {}
    from linbp.models.packages import help_of_packages

    return help_of_packages(known["models"])


def _summary(path: Path) -> str:
    """The first sentence of a suite's file, which its first comment is, and where the file lies."""
    first = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()
    return f"{first}\n{path}"
