"""The page on audits, the action and the GitLab job: their commands are run, with few images."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
import yaml
from fitted_networks import save_onnx, write_folders
from test_docs import ROOT, blocks, commands
from typer.testing import CliRunner

import linbp
from linbp.cli.app import app
from linbp.evaluation.statistics import rate
from linbp.report.audit.json import schema

PAGE = "docs/audit.md"
SHORT = ["--eps", "8/255", "--budget", "12"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the reader of the page has: a network of CIFAR-10's classes, and one of own classes with a surrogate."""
    monkeypatch.chdir(tmp_path)
    (mine,) = (one for one in blocks(PAGE, "python") if one.title)
    (tmp_path / str(mine.title)).write_text(mine.text, encoding="utf-8")
    torch.save(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10)), "checkpoint.pt")
    (tmp_path / "exported").mkdir()
    (card,) = blocks(PAGE, "json")
    for name, seed in (("net", 1), ("new", 2)):
        save_onnx(tmp_path / "exported" / f"{name}.onnx", seed)
        (tmp_path / str(card.title)).with_name(f"{name}.json").write_text(card.text, encoding="utf-8")
    helpers = str(Path(__file__).parents[1] / "helpers")
    text = f"import sys\nsys.path.insert(0, {helpers!r})\nfrom fitted_networks import fitted as network\n"
    (tmp_path / "surrogate.py").write_text(text, encoding="utf-8")
    write_folders(tmp_path / "own", 32)
    return tmp_path


@pytest.mark.slow
def test_the_page_on_audits(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran = []
    for block in blocks(PAGE, "sh"):
        for arguments in commands(block.text, project):
            ran.append(arguments[1])
            if "--surrogate" not in arguments:  # minutes of attacks on trained networks: only its options are read
                arguments[arguments.index("--data") + 1] = "absent"
                refused = CliRunner().invoke(app, arguments)
                assert refused.exit_code == 2
                assert "absent does not exist" in refused.output
                continue
            result = CliRunner().invoke(app, [*arguments, *SHORT])
            assert result.exit_code == 0, f"linbp {arguments}:\n{result.output}\n{result.exception}"
    assert ran == ["demo:efficientnet_lite0", "file:mine.py:network", "exported/net.onnx", "exported/new.onnx"]
    assert linbp.load_model("file:mine.py:network").logits(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    found = json.loads(Path("runs/new/results.json").read_text())
    assert found["baseline"]["victim"] == "net.onnx"
    assert {one["name"] for one in found["classes"]} == {"red", "green", "blue", "grey"}
    (script,) = (one for one in blocks(PAGE, "python") if not one.title)
    text = script.text.replace('surrogates=["', 'eps=["8/255"], budget=12, surrogates=["')
    (project / "script.py").write_text(text, encoding="utf-8")
    capsys.readouterr()
    runpy.run_path(str(project / "script.py"))
    assert re.fullmatch(r"\d+% \(\d+% to \d+%\), n = \d+\n", capsys.readouterr().out)
    assert linbp.audit.read_audit("runs/net").headline.worst.n > 0


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_page_on_substitutes(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("linbp.training.substitute", "linbp.training.substitute.folder", "linbp.audit.substitute"):
        monkeypatch.setattr(f"{module}.LEAST_STEPS", 60)
    write_folders(project / "photos", 24)
    page, backbone = "docs/substitutes.md", "file:surrogate.py:network"
    given = [arguments for block in blocks(page, "sh") for arguments in commands(block.text, project)]
    assert [arguments[0] for arguments in given] == ["substitute", "audit", "audit"]
    for arguments, more in zip(given, ([], SHORT, [*SHORT, "--backbone", backbone]), strict=True):
        if "--backbone" in arguments:  # its weights lie on a hub
            arguments[arguments.index("--backbone") + 1] = backbone
        result = CliRunner().invoke(app, [*arguments, *more])
        assert result.exit_code == 0, f"linbp {arguments}:\n{result.output}\n{result.exception}"
    for run in ("sub", "queried"):
        assert json.loads(Path(f"runs/{run}/results.json").read_text())["threat_model"]["attacker_queries"] == 24
    (script,) = blocks(page, "python")
    (project / "script.py").write_text(script.text, encoding="utf-8")
    capsys.readouterr()
    runpy.run_path(str(project / "script.py"))
    assert re.fullmatch(r"\d of 4 answers are the victim's\n", capsys.readouterr().out)


def test_the_widths_of_intervals_on_the_page() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d,]+) \| (\d+)% to (\d+)% \|$", text, re.MULTILINE)
    assert len(rows) == 4
    for count, low, high in rows:
        n = int(count.replace(",", ""))
        found = rate(n // 2, n)
        assert (f"{found.low:.0%}", f"{found.high:.0%}") == (f"{low}%", f"{high}%")


def test_every_field_of_the_schema_is_on_the_page() -> None:
    hooks = runpy.run_path(str(ROOT / "docs" / "hooks.py"))
    page = hooks["on_page_markdown"]((ROOT / PAGE).read_text(encoding="utf-8"))
    for name in schema()["properties"]:
        assert f"| `{name}` |" in page
    assert "`worst_case`" in page


def environment(project: Path, **more: str) -> dict[str, str]:
    """Where `linbp` is the command of this Python."""
    program = project / "bin" / "linbp"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m linbp.cli "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", **more}


def shell(script: str, project: Path, env: dict[str, str]) -> int:
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", script], cwd=project, env=env, check=False, timeout=300)
    return done.returncode


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / "docs" / "ci" / name).read_text(encoding="utf-8"))


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_action_fails_above_the_threshold_and_shows_its_summary(project: Path) -> None:
    action = read("action.yml")
    install, audit, keep = action["runs"]["steps"]
    assert install["run"] == "python -m pip install 'linbp[report]'"
    usage = next(one for one in blocks(PAGE, "yaml") if "uses: ./" in one.text)
    given = yaml.safe_load(usage.text)["jobs"]["exposure"]["steps"][1]["with"]
    assert given.keys() <= action["inputs"].keys()
    inputs = {name: given.get(name, about.get("default", "")) for name, about in action["inputs"].items()}
    for threshold, status in (("0.99", 0), ("0.0", 1)):
        values = {**inputs, "options": re.sub(r"0\.35", threshold, inputs["options"]) + " " + " ".join(SHORT)}
        filled = {
            name: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda one: str(values[one[1]]), text)  # noqa: B023
            for name, text in audit["env"].items()
        }
        summary = project / f"summary-{status}.md"
        env = environment(project, GITHUB_STEP_SUMMARY=str(summary), **filled)
        assert shell(audit["run"], project, env) == status
        assert summary.read_text(encoding="utf-8") == (project / "runs" / "audit" / "summary.md").read_text()
    for path in keep["with"]["path"].split():
        assert (project / path).is_file()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_job_of_gitlab_writes_what_it_keeps(project: Path) -> None:
    job = read("gitlab.yml")["exposure"]
    variables = {**job["variables"], "OPTIONS": job["variables"]["OPTIONS"] + " " + " ".join(SHORT)}
    status = shell("\n".join(job["script"]), project, environment(project, **variables))
    root = ElementTree.fromstring((project / job["artifacts"]["reports"]["junit"]).read_text(encoding="utf-8"))
    failures = sum(int(suite.get("failures", "0")) for suite in root.iter("testsuite"))
    assert status == (1 if failures else 0)
    for path in job["artifacts"]["paths"]:
        assert (project / path).is_file()
