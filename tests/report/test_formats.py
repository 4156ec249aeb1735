"""Each format has the figures of the table, and nothing that breaks it."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pyarrow as pa
import pytest
from result_tables import synthetic

from linbp.evaluation.statistics import Outcomes, standings
from linbp.report import csv as as_csv
from linbp.report import json as as_json
from linbp.report import junit, latex, markdown
from linbp.report.result import Report, report_of
from linbp.report.summary import sentences
from linbp.report.tables import image_table
from linbp.report.words import interval

HOSTILE = "a|b <i>*x*</i> & 50% $y_1$ {z} ~^\\ \x0b"


@pytest.fixture(scope="module")
def hostile() -> Report:
    table = synthetic(images=20, surrogates=(HOSTILE,), recipes=("mi", HOSTILE), victims=("v", HOSTILE))
    return report_of(table, title=HOSTILE)


def rates(table: pa.Table) -> dict[tuple[str, str, str, str], tuple[int, int]]:
    """Slowly: successes and counted images of each attack and victim."""
    found: dict[tuple[str, str, str, str], tuple[int, int]] = {}
    for row in table.to_pylist():
        key = (row["surrogate"], row["recipe"], row["eps_text"], row["victim"])
        wins, n = found.get(key, (0, 0))
        if row["success"] is not None and row["selected"]:
            found[key] = (wins + row["success"], n + 1)
    return found


def test_csv_has_every_rate_and_every_mean(report: Report, source: Any) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv.render(report))))
    slow = rates(source.table)
    single = [row for row in rows if row["victim"] != "mean over victims"]
    assert len(single) == len(slow)
    for row in single:
        wins, n = slow[row["surrogate"], row["recipe"], row["eps_text"], row["victim"]]
        assert (int(row["successes"]), int(row["n"])) == (wins, n)
        assert float(row["rate"]) == pytest.approx(wins / n)
        assert float(row["low"]) <= wins / n <= float(row["high"])
    means = [float(row["rate"]) for row in rows if row["victim"] == "mean over victims"]
    assert means == pytest.approx([one.mean.value for one in report.standings if one.mean])


def test_json_follows_its_schema_and_says_what_csv_says(report: Report, hostile: Report) -> None:
    schema = as_json.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["version"]["const"] == as_json.VERSION
    for one in (report, hostile):
        found = json.loads(as_json.render(one))
        jsonschema.validate(found, schema)
        assert found["version"] == as_json.VERSION
        assert len(found["results"]) == len(list(csv.DictReader(io.StringIO(as_csv.render(one)))))
    broken = {**found, "images": -1}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)
    head = json.loads(as_json.render(report))["headline"]
    best = max(
        (one for one in report.standings if one.mean and one.attack.eps == head["eps"]),
        key=lambda one: one.mean.value,  # type: ignore[union-attr]
    )
    assert (head["recipe"], head["surrogate"]) == (best.attack.recipe, best.attack.surrogate)
    assert head["against"]["against"] != head["recipe"]


@pytest.mark.parametrize("which", ["report", "hostile"])
def test_markdown_tables_have_one_cell_for_each_head(which: str, request: pytest.FixtureRequest) -> None:
    text = markdown.render(request.getfixturevalue(which))
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(blocks) >= 5
    for block in blocks:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
    assert "<i>" not in text.replace("\\<i\\>", "")


def test_markdown_has_the_rates(report: Report) -> None:
    text = markdown.render(report)
    for one in report.standings:
        for rate in one.rates:
            assert rate is not None
            assert f"{rate.successes}/{rate.n}" in text
    assert sentences(report)[0].replace("(", "(") in text


def test_latex_escapes_and_aligns(report: Report, hostile: Report) -> None:
    for one in (report, hostile):
        text = latex.render(one)
        tables = re.findall(r"\\begin\{longtable\}\{([lr]+)\}(.*?)\\end\{longtable\}", text, re.DOTALL)
        assert len(tables) == len(one.worst) + 2
        for columns, body in tables:
            rows = [line for line in body.splitlines() if line.endswith(r"\\") and "caption" not in line]
            for row in rows:
                assert len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1
        bare = re.sub(r"\\[&%$#_{}]|\$\\times\$", "", text.split("\n", 1)[1])
        assert not re.search(r"[#$~^]", bare)
        assert not re.search(r"(?<!\\)%", bare)


def test_junit_has_a_case_for_each_attack_and_victim(report: Report, hostile: Report) -> None:
    for one in (report, hostile):
        root = ElementTree.fromstring(junit.render(one))
        suites = root.findall("testsuite")
        assert len(suites) == len(one.worst)
        cases = root.findall("testsuite/testcase")
        assert len(cases) == sum(rate is not None for standing in one.standings for rate in standing.rates)
        assert sum(int(suite.get("tests", "0")) for suite in suites) == len(cases)
        assert {suite.get("failures") for suite in suites} == {"0"}
        assert all(case.find("system-out") is not None for case in cases)


def test_a_victim_that_has_no_image_right_is_skipped_and_not_zero() -> None:
    table = synthetic(images=6, victims=("a", "lost"), recipes=("mi",), eps=("8/255",))
    victim = np.array(table["victim"].to_pylist())
    success = [None if name == "lost" else won for name, won in zip(victim, table["success"].to_pylist(), strict=True)]
    table = table.set_column(table.column_names.index("success"), "success", pa.array(success, pa.bool_()))
    found = report_of(table)
    root = ElementTree.fromstring(junit.render(found))
    assert len(root.findall(".//skipped")) == 1
    assert json.loads(as_json.render(found))["results"][1]["rate"] is None
    assert "–" in markdown.render(found)


def test_the_headline_is_the_largest_radius_that_tells_attacks_apart() -> None:
    table = synthetic(images=40, wrong_on_clean=0.0, eps=("2/255", "4/255", "8/255"))
    saturated = [
        True if eps == "8/255" else won
        for eps, won in zip(table["eps_text"].to_pylist(), table["success"].to_pylist(), strict=True)
    ]
    changed = table.set_column(table.column_names.index("success"), "success", pa.array(saturated))
    assert report_of(table).headline.eps_text == "8/255"  # type: ignore[union-attr]
    found = report_of(changed)
    assert found.headline.eps_text == "4/255"  # type: ignore[union-attr]
    every = changed.set_column(changed.column_names.index("success"), "success", pa.array([True] * changed.num_rows))
    told = report_of(every)
    assert told.headline.eps_text == "2/255"  # type: ignore[union-attr]
    assert "saturated" in {flag.kind for flag in told.flags}
    assert "saturated" not in {flag.kind for flag in found.flags}


def test_what_is_to_be_doubted_is_said() -> None:
    few = report_of(synthetic(images=99))
    many = report_of(synthetic(images=130))
    assert {"few-images", "unequal-cost"} <= {flag.kind for flag in few.flags}
    assert "few-images" not in {flag.kind for flag in many.flags}
    assert "incomplete" in {flag.kind for flag in report_of(synthetic(images=9), facts={"complete": "false"}).flags}
    table = synthetic(images=9)
    white = table.set_column(
        table.column_names.index("white_box"), table.schema.field("white_box"), pa.array([True] * table.num_rows)
    )
    found = report_of(white)
    assert found.headline is None
    assert {flag.kind for flag in found.flags} == {"white-box"}
    for module in (markdown, latex, junit, as_csv, as_json):
        assert module.render(found)


def test_notes_stand_with_the_attacks_and_not_among_the_doubts() -> None:
    table = synthetic(images=9, eps=("8/255",))
    notes = pa.array([f"folded; {name} acts" for name in table["recipe"].to_pylist()])
    at = table.column_names.index("notes")
    found = report_of(table.set_column(at, table.schema.field("notes"), notes.dictionary_encode()))
    assert found.notes == {"folded": ["mi", "linbp"], "mi acts": ["mi"], "linbp acts": ["linbp"]} or found.notes == {
        "folded": ["linbp", "mi"],
        "mi acts": ["mi"],
        "linbp acts": ["linbp"],
    }
    assert not any("folded" in flag.text for flag in found.flags)


def test_reports_are_written_without_torch() -> None:
    code = "import sys, linbp.report.write, linbp.report.chapters; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_table_of_images_is_cut_for_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    report = report_of(synthetic(images=40, wrong_on_clean=0.0))
    whole = image_table(report)
    monkeypatch.setattr("linbp.report.tables.MOST_ROWS", 7)
    cut = image_table(report)
    assert (list(cut.rows), cut.left_out) == (list(whole.rows[:7]), 33)
    assert (len(whole.rows), whole.left_out) == (40, 0)


def test_narrow_intervals_have_a_digit_more() -> None:
    assert [interval(0.42, 0.69), interval(0.429, 0.432), interval(0.0099, 0.3)] == [
        "42 to 69",
        "42.9 to 43.2",
        "1 to 30",
    ]


def test_names_tell_attacks_apart(report: Report) -> None:
    outcomes = Outcomes(synthetic())
    assert len(standings(outcomes)) == 4
    names = {report.name_of(number) for number in range(len(report.outcomes.attacks))}
    assert len(names) == len(report.outcomes.attacks)
    alone = report_of(synthetic(images=5, eps=("8/255",)))
    assert {alone.name_of(number) for number in range(2)} == {"mi", "linbp"}
