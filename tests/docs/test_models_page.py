"""The page on where networks come from: its folder, its package and its names work as they stand there."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest
import torch
from foreign_parts import Packages, packages
from typer.testing import CliRunner

import linbp
from linbp.cli.app import app
from linbp.models import SOURCES
from linbp.models.sidecar import read_sidecar

__all__ = ["packages"]

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
BLOCKS = {title or language: text for language, title, text in FENCE.findall(PAGE)}


def test_the_folder_of_transformers_is_inspected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "make_folder.py").write_text(BLOCKS["make_folder.py"])
    runpy.run_path("make_folder.py")
    command = BLOCKS["sh"].split()
    assert command[0] == "linbp"
    found = CliRunner().invoke(app, [*command[1:], "--json"])
    facts = json.loads(found.stdout)
    assert facts["classes"] == 3
    assert len(facts["attentions"]) == 2


def test_the_source_of_a_package(packages: Packages) -> None:
    assert '[project.entry-points."linbp.sources"]\nzoo = "my_zoo"' in BLOCKS["pyproject.toml"]
    packages.install("my_zoo", {"my_zoo.py": BLOCKS["my_zoo.py"]}, group="linbp.sources", word="zoo")
    model = linbp.load_model("zoo:6")
    assert model.logits(torch.rand(2, 3, 6, 6)).shape == (2, 5)


def test_the_file_of_torch_hub_is_read(tmp_path: Path) -> None:
    (tmp_path / "entry.json").write_text(BLOCKS["entry.json"])
    assert read_sidecar(tmp_path / "entry.json")["arguments"] == {"pretrained": True}


def test_every_name_starts_with_a_source(packages: Packages) -> None:
    table = [line for line in PAGE.splitlines() if line.startswith("| ") and "`" in line]
    names = [name for line in table for name in re.findall(r"`([\w.\-]+):", line.split("|")[2])]
    assert {"hf", "hf-clip", "timm", "torch.hub"} <= set(names)
    assert set(names) - {"zoo"} <= set(SOURCES)
