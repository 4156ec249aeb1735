"""The tables of the contenders in `docs/results.md`, made from the lines that `imagenet_contenders.py` stored."""

from __future__ import annotations

from typing import Any

from imagenet_contenders import WITH_LINBP, WITHOUT_LINBP
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
    for surrogate in WITH_LINBP:
        for eps in ("16/255", "8/255"):
            text += table(lines, surrogate, eps)
    text += compare(lines, PAIRS, "### Contenders with LinBP against those without")
    PAGE.write_text(between(PAGE.read_text(), "contenders", text))
