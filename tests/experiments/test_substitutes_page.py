"""The table of docs/substitutes.md is what was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from statsmodels.stats.proportion import proportion_confint

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results" / "substitutes.json"

pytestmark = pytest.mark.skipif(not RESULTS.is_file(), reason="the results are not in the source distribution")


def test_every_cell_is_a_rate_that_was_measured_with_its_interval() -> None:
    text = (ROOT / "docs" / "substitutes.md").read_text(encoding="utf-8")
    table = text.partition("<!-- measured: begin -->")[2].partition("<!-- measured: end -->")[0]
    shown = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:2] == "| "][
        1:
    ]
    measured = json.loads(RESULTS.read_text())
    assert [row[0] for row in shown] == [one["surrogate"] for one in measured]
    for row, one in zip(shown, measured, strict=True):
        rates = [one["agreement"], *(one["exposure"][eps]["worst_case"] for eps in ("4/255", "8/255"))]
        for cell, rate in zip(row[1:], rates, strict=True):
            if rate is None:
                assert cell == ""
                continue
            low, high = proportion_confint(rate["successes"], rate["n"], method="wilson")
            value = rate["successes"] / rate["n"]
            found = [int(number) for number in re.findall(r"\d+", cell)]
            assert found == [round(100 * value), round(100 * low), round(100 * high), rate["successes"], rate["n"]]
