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
    (marker,) = Path("run/attacks").glob("*leaky-0.2*/shards/*")
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
    assert facts["queries"] == 40 * (3 + 1 + 1 + 6)


def test_bad_input_is_two_lines_and_status_2(run: Run) -> None:
    rest = ("--data", "photos", "--out", "bad")
    two_lines(run("audit", "file:nets.py:second", *rest), "4 classes", "--surrogate", "substitute")
    two_lines(run("audit", "nets.py", *rest), "nets.py")
    two_lines(run("audit", "file:nets.py:second", "--data", "fotos", "--out", "bad"), "fotos")
    two_lines(
        run("audit", "file:nets.py:second", *BASIC, "--out", "bad", "--fail-above", "4/255=0.3"), "4/255", "--eps"
    )
    assert not Path("bad").exists()


def test_of_a_victim_that_stops_answering_what_there_is_is_reported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    # One image for the classes, 40 clean ones, 20 to 36 to doubt them, 40 of the first attack; in the second it stops.
    monkeypatch.setenv("STOPS_AFTER", "119")
    answer = run("audit", "file:nets.py:stops", *BASIC, "--out", "stopped")
    assert answer.status == 2
    assert [line.split()[0] for line in answer.err.splitlines()] == ["Error:", "Hint:"]
    assert "the service is gone" in answer.err
    found = json.loads(Path("stopped/results.json").read_text())
    assert found["verdict"]["status"] == "incomplete"
    assert len(found["exposure"][0]["attacks"]) == 1
    assert found["flags"][0]["kind"] == "incomplete"
    monkeypatch.setenv("STOPS_AFTER", "100000")
    assert run("audit", "file:nets.py:stops", *BASIC, "--out", "stopped").status == 0
    found = json.loads(Path("stopped/results.json").read_text())
    assert found["complete"]
    assert len(found["exposure"][0]["attacks"]) == 3


def test_interrupted_it_says_what_is_kept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import linbp.audit.run_audit

    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(linbp.audit.run_audit, "run_bench", interrupted)
    answer = run("audit", "file:nets.py:second", *BASIC, "--out", "interrupted")
    assert answer.status == 130
    assert "interrupted" in answer.err


def test_the_report_of_its_attacks_leaves_its_own_page(run: Run) -> None:
    assert run("audit", "file:nets.py:second", *BASIC, "--out", "kept").status == 0
    page = Path("kept/report.html").read_bytes()
    answer = run("report", "kept")
    assert answer.status == 0, answer.err
    assert Path("kept/report.html").read_bytes() == page
    assert Path("kept/attacks.html").is_file()


def test_a_run_behind_a_url(run: Run) -> None:
    from fsspec import filesystem

    place = "memory://bucket/audit"
    assert run("audit", "file:nets.py:second", *BASIC, "--out", place).status == 0
    files = filesystem("memory")
    found = json.loads(files.cat_file("/bucket/audit/results.json"))
    assert b"data:image" in files.cat_file("/bucket/audit/report.html")
    again = run("audit", "file:nets.py:third", *BASIC, "--out", "compared", "--baseline", place, "--json")
    assert again.facts["baseline"]["run"] == place
    assert again.facts["baseline"]["clean"] == found["victim"]["clean"]


def test_it_comes_first(run: Run) -> None:
    answer = run("--help")
    commands = [line.split()[1] for line in answer.out.splitlines() if line.startswith("│ ")]
    names = [word for word in commands if word in ("audit", "craft", "bench", "inspect", "evaluate")]
    assert names[0] == "audit"
