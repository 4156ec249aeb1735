"""What a source distribution holds, by the patterns of pyproject.toml: the scripts, and not their results."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pathspec
import pytest
from packaging.requirements import Requirement

tomllib = pytest.importorskip("tomllib")  # Python 3.11
ROOT = Path(__file__).parents[2]


def test_results_of_experiments_are_left_out() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert [Requirement(one).name for one in project["build-system"]["requires"]] == ["hatchling"]
    target = project["tool"]["hatch"]["build"]["targets"]["sdist"]
    include, exclude = (pathspec.GitIgnoreSpec.from_lines(target[name]) for name in ("include", "exclude"))
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=False, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout")
    kept = {name for name in include.match_files(listed.stdout.splitlines()) if not exclude.match_file(name)}
    results = {name for name in listed.stdout.splitlines() if name.startswith("experiments/results/")}
    assert results
    assert not kept & results
    assert {"experiments/pages.py", "src/linbp/__init__.py", "README.md"} <= kept
