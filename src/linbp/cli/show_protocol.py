"""What `linbp show` prints about a protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linbp.cli.output import add_row, make_table, print_json, stdout

if TYPE_CHECKING:
    from linbp.attack.protocol import Protocol
    from linbp.data.preprocessing import View

__all__ = ["protocol_rows", "show_protocol"]


def show_protocol(protocol: dict[str, Any], json: bool) -> None:
    """Values, networks, oddities and sources of a protocol of the catalogue, as a table or as JSON."""
    facts = protocol["facts"]
    if json:
        print_json(facts)
        return
    console = stdout()
    console.print(f"[bold]protocol[/bold] {facts['name']}")
    console.print(f"{facts['title']}. {facts['paper']}.", markup=False)
    table = make_table("what", "value")
    for what, value in protocol["rows"]:
        add_row(table, what, value)
    console.print(table)
    for title, lines in (
        ("What is odd about it", facts["odd"]),
        ("Not verified", facts["unverified"]),
        ("Read in", facts["sources"]),
    ):
        console.print(f"{title}:")
        for line in lines:
            console.print(f"- {line}", markup=False)
        console.print()


def protocol_rows(protocol: Protocol) -> list[tuple[str, str]]:
    """What the table of a protocol says."""
    targets = {
        None: "no targeted attack",
        "column": "the list's (--targets COLUMN)",
    }.get(protocol.target_rule, f"--target-rule {protocol.target_rule}")
    return [
        ("photographs", "shorter side to the surrogate's size, its own interpolation, middle of that size")
        if protocol.preparation is None
        else ("photographs", str(protocol.preparation)),
        ("eps", " or ".join(protocol.eps) + f" ({protocol.norm})"),
        ("steps", " or ".join(map(str, protocol.steps))),
        ("step size", protocol.step_size),
        ("rounding", protocol.rounding),
        ("targets", targets),
        ("victims see", _words(protocol.victims)),
        ("the white box sees", _words(protocol.white_box)),
        ("images", protocol.images),
        ("counted", "images that every victim has right" if protocol.selection else "all images: 1 - accuracy"),
        ("surrogates", protocol.surrogates),
        ("victims", protocol.victim_networks),
    ]


def _words(view: View) -> str:
    return ", ".join(map(str, view)) or "the image as it is"
