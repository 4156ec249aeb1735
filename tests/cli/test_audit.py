"""`linbp audit` as a user types it: its files, its exit status, and what it says of bad input."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from command_line import Run, two_lines
from fitted_networks import write_networks, write_patterned


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photographs and networks."""
    folder = tmp_path_factory.mktemp("audited")
    write_patterned(folder / "photos", 40)
    write_networks(folder)
    return folder


@pytest.fixture(autouse=True)
def _there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


BASIC = ("--data", "photos", "--surrogate", "file:nets.py:first", "--eps", "8/255")


def test_a_threshold_that_is_exceeded_is_status_1_with_every_file_written(run: Run) -> None:
    answer = run("audit", "file:nets.py:second", *BASIC, "--out", "run", "--fail-above", "1%")
    assert answer.status == 1, answer
    assert answer.err == ""
    found = json.loads(Path("run/results.json").read_text())
    assert found["verdict"]["status"] == "failed"
    (case,) = ElementTree.fromstring(Path("run/junit.xml").read_text()).findall(".//testcase")
    assert case.find("failure") is not None
    worst = found["exposure"][0]["worst_case"]
    for text in (answer.text, Path("run/summary.md").read_text(), Path("run/report.html").read_text()):
        assert f"{worst['successes']} of {worst['n']} images" in text
    assert "--fail-above 1%" in found["command"]
    # The same run, judged otherwise: nothing is asked again.
    (marker,) = Path("run/attacks").glob("*leaky*/shards/*")
    before = marker.stat().st_mtime_ns
    answer = run("audit", "file:nets.py:second", *BASIC, "--out", "run", "--fail-above", "0.99", "--json")
    assert answer.status == 0, answer.err
    assert answer.facts["verdict"]["status"] == "passed"
    assert answer.facts["exposure"][0]["worst_case"] == worst
    assert marker.stat().st_mtime_ns == before


def test_the_plan_alone_writes_nothing(run: Run) -> None:
    answer = run("audit", "file:nets.py:second", *BASIC, "--out", "planned", "--plan-only")
    assert answer.status == 0, answer.err
    assert "40 images" in answer.text
    assert not Path("planned").exists()
    facts = run("audit", "file:nets.py:second", *BASIC, "--out", "planned", "--plan-only", "--json").facts
    assert facts["queries"] == 40 * (2 + 1 + 1 + 6)


def test_bad_input_is_two_lines_and_status_2(run: Run) -> None:
    rest = ("--data", "photos", "--out", "bad")
    two_lines(run("audit", "file:nets.py:second", *rest), "4 classes", "--surrogate", "substitute")
    two_lines(run("audit", "nets.py", *rest), "nets.py")
    two_lines(run("audit", "file:nets.py:second", "--data", "fotos", "--out", "bad"), "fotos")
    two_lines(
        run("audit", "file:nets.py:second", *BASIC, "--out", "bad", "--fail-above", "4/255=0.3"), "4/255", "--eps"
    )
    assert not Path("bad").exists()


def test_it_comes_first(run: Run) -> None:
    answer = run("--help")
    commands = [line.split()[1] for line in answer.out.splitlines() if line.startswith("│ ")]
    names = [word for word in commands if word in ("audit", "craft", "bench", "inspect", "evaluate")]
    assert names[0] == "audit"
