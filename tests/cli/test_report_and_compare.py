"""`linbp report` and `linbp compare` on a run that the bench made, and on what is no run."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import fsspec
import pyarrow as pa
import pytest
from command_line import Run, two_lines
from result_tables import synthetic
from run_folders import write_run
from scipy.stats import binomtest
from small_suites import small_suite

from linbp.bench.run import run_bench
from linbp.bench.table import results_bytes


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pa.Table]:
    """A small run's folder and its table; one of its two victims is the surrogate."""
    suite = small_suite(tmp_path_factory.mktemp("reported"), images=12)
    return suite.parent / "run", run_bench(suite, suite.parent / "run").results


@pytest.fixture
def place(done: tuple[Path, pa.Table], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run's folder; the working directory is another one."""
    monkeypatch.chdir(tmp_path)
    return done[0]


def test_a_run_becomes_files_of_each_format(run: Run, place: Path) -> None:
    names = ("html", "md", "latex", "csv", "json", "junit")
    answer = run("report", str(place), *(word for name in names for word in ("--format", name)), "--out", "told")
    assert answer.status == 0, answer.err
    files = {path.suffix: path for path in Path("told").iterdir()}
    assert files.keys() == {".html", ".md", ".tex", ".csv", ".json", ".xml"}
    for path in files.values():
        assert str(path) in answer.text
    found = json.loads(files[".json"].read_text())
    best = found["headline"]
    assert f"made on {best['surrogate']} with {best['recipe']}" in answer.text
    assert {row["victim"] for row in found["results"] if row["white_box"]} == {"white"}
    page = files[".html"].read_text()
    assert page.count("data:image/png;base64,") >= 3
    assert found["command"] in page
    assert found["command"].startswith("linbp bench ")
    assert {"versions", "device", "started"} <= found["facts"].keys()
    cases = ElementTree.fromstring(files[".xml"].read_text()).findall(".//testcase")
    assert len(cases) == 8


def test_the_rates_are_those_of_the_table(run: Run, place: Path, done: tuple[Path, pa.Table]) -> None:
    answer = run("report", str(place), "--format", "csv", "--out", "-")
    assert answer.err == ""
    rows = {(row["recipe"], row["eps_text"], row["victim"]): row for row in csv.DictReader(io.StringIO(answer.out))}
    for recipe, eps, victim in (("mi", "8/255", "chain"), ("linbp", "16/255", "white")):
        mine = [
            row["success"]
            for row in done[1].to_pylist()
            if (row["recipe"], row["eps_text"], row["victim"]) == (recipe, eps, victim) and row["selected"]
        ]
        counted = [won for won in mine if won is not None]
        row = rows[recipe, eps, victim]
        assert (int(row["n"]), int(row["successes"])) == (len(counted), sum(counted))


def test_where_files_go(run: Run, place: Path) -> None:
    assert run("report", str(place), "--format", "md").status == 0
    assert (place / "report.md").is_file()
    (place / "report.md").unlink()
    assert run("report", str(place), "--out", "mine.tex").status == 0
    assert Path("mine.tex").read_text().startswith("%")
    shutil.copy(place / "results.parquet", "alone.parquet")
    answer = run("report", "alone.parquet", "--json", "--out", "alone.md")
    assert answer.facts["command"] == ""
    assert Path("alone.md").is_file()
    two_lines(run("report", str(place), "--format", "md", "--out", "nowhere/summary.md"), "nowhere")
    two_lines(run("report", str(place), "--format", "md", "--format", "csv", "--out", "-"), "Standard output")


def test_a_run_behind_a_url(run: Run, place: Path) -> None:
    files = fsspec.filesystem("memory")
    for name in ("results.parquet", "run.json", "suite.toml"):
        files.pipe_file(f"/bucket/tonight/{name}", (place / name).read_bytes())
    answer = run("report", "memory://bucket/tonight", "--format", "md")
    assert answer.status == 0, answer.err
    assert b"# small" in files.cat_file("/bucket/tonight/report.md")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ("results.parquet",)),
        (b"", ("results.parquet", "cannot be read")),
        (b"PAR1 is not enough", ("results.parquet", "cannot be read")),
        (results_bytes(synthetic(images=3).slice(0, 0)), ("no rows",)),
    ],
)
def test_what_is_no_table_of_results_is_refused_in_one_line(
    run: Run, tmp_path: Path, content: bytes | None, words: tuple[str, ...]
) -> None:
    (tmp_path / "run").mkdir()
    if content is not None:
        (tmp_path / "run" / "results.parquet").write_bytes(content)
    two_lines(run("report", str(tmp_path / "run")), *words)
    two_lines(run("compare", str(tmp_path / "run"), str(tmp_path / "run")), "run")


def test_what_is_misspelt_or_not_installed_is_said(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_lines(run("report", str(place), "--format", "htlm"), "htlm", "html")
    import linbp.report.html

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(linbp.report.html, "import_module", missing)
    two_lines(run("report", str(place)), "altair", "linbp[report]")
    assert run("report", str(place), "--format", "md", "--out", "told.md").status == 0


def folders(place: Path) -> dict[str, str]:
    """The folders of adversarial images of the run, by recipe and radius."""
    found = {}
    for path in (place / "attacks").iterdir():
        settings = json.loads((path / "manifest.json").read_text())["settings"]
        found[f"{'linbp' if 'linbp' in settings['recipe'] else 'mi'} {255 * settings['eps']:.0f}"] = str(path)
    return found


def test_two_attacks_are_compared_on_a_victim_as_the_run_has_them(
    run: Run, place: Path, done: tuple[Path, pa.Table]
) -> None:
    where = folders(place)
    network = f"file:{place.parent / 'nets.py'}:tiny_chain"
    answer = run("compare", where["mi 16"], where["linbp 16"], "--victim", network, "--json")
    (pair,) = answer.facts["pairs"]
    sides = [
        {
            row["image_id"]: row["success"]
            for row in done[1].to_pylist()
            if (row["recipe"], row["eps_text"], row["victim"]) == (recipe, "16/255", "chain")
            and row["success"] is not None
        }
        for recipe in ("mi", "linbp")
    ]
    won = sorted(name for name in sides[0] if sides[1][name] and not sides[0][name])
    lost = sorted(name for name in sides[0] if sides[0][name] and not sides[1][name])
    assert (sorted(pair["won"]), sorted(pair["lost"])) == (won, lost)
    assert pair["difference"]["value"] == pytest.approx(100 * (len(won) - len(lost)) / len(sides[0]))
    wanted = binomtest(len(won), len(won) + len(lost)).pvalue if won or lost else 1
    assert pair["difference"]["p"] == pytest.approx(wanted)
    shown = run("compare", where["mi 16"], where["linbp 16"], "--victim", network)
    assert shown.status == 0, shown.err
    for name in (*won, *lost):
        assert name in shown.text


def test_two_versions_of_a_victim_are_compared_on_one_folder(run: Run, place: Path) -> None:
    where, nets = folders(place)["linbp 16"], f"file:{place.parent / 'nets.py'}"
    options = ("--victim", f"{nets}:tiny_chain", "--second-victim", f"{nets}:tiny")
    (pair,) = run("compare", where, where, *options, "--json").facts["pairs"]
    assert pair["victim"] != pair["other_victim"]
    same = run("compare", where, where, "--victim", f"{nets}:tiny_chain", "--json").facts["pairs"][0]
    assert (same["difference"]["value"], same["difference"]["p"], same["won"]) == (0, 1, [])


def test_runs_are_compared_cell_by_cell(run: Run, place: Path) -> None:
    answer = run("compare", str(place), str(place), "--json")
    assert len(answer.facts["pairs"]) == 8 + 4
    only = run("compare", str(place), str(place), "--victim", "chain", "--json").facts["pairs"]
    assert {pair["victim"] for pair in only} == {"chain"}
    assert run("compare", str(place), str(place / "results.parquet")).status == 0


def test_what_cannot_be_compared_is_said(run: Run, place: Path, tmp_path: Path) -> None:
    two_lines(run("compare", str(place), folders(place)["mi 8"]), "--victim")
    two_lines(run("compare", str(place), str(place), "--victim", "chian"), "chian", "'chain'")
    write_run(tmp_path / "other")
    two_lines(run("compare", str(place), str(tmp_path / "other")), "no images in common")
    two_lines(run("compare", str(place), "nowhere"), "nowhere")


def test_budgets_of_one_attack_are_told_apart(run: Run, tmp_path: Path) -> None:
    suite = small_suite(tmp_path, cost={"gradients": [2, 3]}, recipes={"mi": "mifgsm"}, eps="8/255", images=4)
    folder = str(tmp_path / "run")
    answer = run("bench", str(suite), "--out", folder, "--json")
    assert {(line["gradients"], line["rate"]["n"] <= 4) for line in answer.facts["rates"]} == {(2, True), (3, True)}
    for command in (("bench", str(suite), "--out", folder), ("compare", folder, folder)):
        told = " ".join(run(*command).out.split())
        assert "gradients" in told
