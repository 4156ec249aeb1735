"""The table of docs/defences.md, computed again from the answers that are stored."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest

from linbp.bench.suite import read_suite

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results" / "defences.parquet"
SUITE = ROOT / "experiments" / "suites" / "photographs-defences.toml"
NETWORKS = ("MobileNet v2", "Lite0", "EdgeTPU")
NO_ANSWER = -2

pytestmark = pytest.mark.skipif(not RESULTS.is_file(), reason="the results are not in the source distribution")


def cells_of_page() -> dict[str, list[str]]:
    """The cells of the page's table, by defence."""
    text = (ROOT / "docs" / "defences.md").read_text(encoding="utf-8")
    table = text.partition("<!-- photographs: begin -->")[2].partition("<!-- photographs: end -->")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")][1:]
    rows = [re.split(r" \| ", line.strip("| ")) for line in lines]
    return {row[0].strip("`").replace("`, `", " | "): [*row[1:], *[""] * (7 - len(row))] for row in rows}


def per_cent(right: int, n: int) -> str:
    """A rate with its interval, by SciPy."""
    low, high = binomtest(right, n).proportion_ci(method="wilson")
    return f"{100 * right / n:.0f} <small>{100 * low:.0f}-{100 * high:.0f}</small>"


def test_every_cell_is_what_comes_out_of_the_answers() -> None:
    rows = pq.read_table(RESULTS).to_pydict()
    victims, label, clean, adv = (
        np.array(rows[name]) for name in ("victim", "label", "clean_prediction", "adv_prediction")
    )
    page = cells_of_page()
    asked = {victim.name for victim in read_suite(SUITE)[0].victims}
    assert asked == set(victims.tolist())
    assert len(rows["image_id"]) == 300 * len(asked)
    found: dict[str, list[str]] = {}
    for defence in page:
        chain = "" if defence == "none" else f"{defence} | "
        found[defence] = []
        for network in NETWORKS:
            mine = victims == chain + network
            right = mine & (clean == label)
            fooled = right & (adv != label) & (adv != NO_ANSWER)
            known, successes = int(right.sum()), int(fooled.sum())
            found[defence] += [f"{100 * known / 300:.0f}", per_cent(successes, known)] if mine.any() else ["", ""]
    assert found == page
    shown = {("" if name == "none" else f"{name} | ") + network for name in page for network in NETWORKS}
    assert asked - {"SqueezeNet 1.1"} <= shown, "no chain that was asked is left out"
