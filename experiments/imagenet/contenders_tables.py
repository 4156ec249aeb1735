"""The tables of the contenders in `docs/results.md`, made from the lines that `imagenet_contenders.py` stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imagenet_tables import PAGE, compare, table
from pages import between

Recipes = Mapping[str, Sequence[str]]


def write(lines: list[dict[str, Any]], ours: Recipes, others: Recipes, first: int) -> None:
    """Put the tables into the page, between its two marks.

    Args:
        lines: of the results file.
        ours: the contenders with LinBP, by surrogate.
        others: those without.
        first: the pass from which on contenders are judged; what comes before only picked them.
    """
    pairs = [(name, one, other) for name in ours for one in ours[name] for other in others[name]]
    text: list[str] = []
    clean = [line for line in lines if line["recipe"] == "clean"]
    contenders = {name: {*others[name], *ours[name]} for name in ours}
    judged = [
        line for line in lines if line["pass"] >= first and line["recipe"] in contenders.get(line["surrogate"], ())
    ]
    tried = [line for line in lines if line["pass"] < first]
    for surrogate in ours:
        for eps in ("16/255", "8/255"):
            text += table([*judged, *clean], surrogate, eps)
    text += compare([*judged, *clean], pairs, "### With LinBP against without")
    picked = [row for surrogate in ours for row in table(tried, surrogate, "8/255", "####")]
    text += ["### What was tried on the first 24 photographs", "", *picked] if picked else []
    PAGE.write_text(between(PAGE.read_text(), "contenders", text))
