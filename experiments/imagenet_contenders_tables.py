"""The tables of the contenders in `docs/results.md`, made from the lines that `imagenet_contenders.py` stored."""

from __future__ import annotations

from typing import Any

from imagenet_contenders import FIRST, WITH_LINBP, WITHOUT_LINBP
from imagenet_tables import PAGE, compare, table
from pages import between

PAIRS = [
    (surrogate, ours, other)
    for surrogate in WITH_LINBP
    for ours in WITH_LINBP[surrogate]
    for other in WITHOUT_LINBP[surrogate]
]


def write(lines: list[dict[str, Any]]) -> None:
    """Put the tables into the page, between its two marks."""
    text: list[str] = []
    clean = [line for line in lines if line["recipe"] == "clean"]
    contenders = {name: {*WITHOUT_LINBP[name], *WITH_LINBP[name]} for name in WITH_LINBP}
    judged = [
        line for line in lines if line["pass"] >= FIRST and line["recipe"] in contenders.get(line["surrogate"], ())
    ]
    tried = [line for line in lines if line["pass"] < FIRST]
    for surrogate in WITH_LINBP:
        for eps in ("16/255", "8/255"):
            text += table([*judged, *clean], surrogate, eps)
    text += compare([*judged, *clean], PAIRS, "### With LinBP against without")
    picked = [row for surrogate in WITH_LINBP for row in table(tried, surrogate, "8/255", "####")]
    text += ["### What was tried on the first 24 photographs", "", *picked] if picked else []
    PAGE.write_text(between(PAGE.read_text(), "contenders", text))
