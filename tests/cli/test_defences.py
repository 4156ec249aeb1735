"""Defences as a user types them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import Run, two_lines

from linbp.data.images import write_png

NETWORKS = """
import torch
from torch import nn
import linbp

def net():
    torch.manual_seed(0)
    return linbp.Model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 5)), input_size=12)
"""


def test_defences_are_listed_and_shown(run: Run) -> None:
    listed = run("list", "defences", "--json").facts["defences"]
    assert {one["name"] for one in listed} == {
        *("jpeg", "bits", "median", "gaussian", "resize-pad", "smoothing", "tta", "crop")
    }
    shown = run("show", "smoothing").text
    assert "1902.02918" in shown
    assert "alpha=0.001" in shown


def test_victims_behind_defences(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("networks.py").write_text(NETWORKS)
    Path("photos").mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (15, 20, 3), dtype=np.uint8)
        write_png(f"photos/i{number}.png", pixels)
    net = "file:networks.py:net"
    common = ("--recipe", "ifgsm", "--steps", "2", "--data", "photos", "--labels", "predicted")
    assert run("craft", "--surrogate", f"crop(14) | {net}", *common, "--out", "adv").status == 0
    victims = [f"crop(14) | {net}", f"jpeg(75) | crop(14) | {net}", f"jpeg(30) | crop(14) | {net}"]
    answer = run("evaluate", "adv", *(word for one in victims for word in ("--victim", one)), "--json")
    assert answer.status == 0, answer.err
    first, *others = answer.facts["victims"]
    assert first["role"] == "white box"
    assert first["right_on_clean"] == 6
    assert len({one["victim"]["name"] for one in others}) == 2
    two_lines(run("inspect", f"jpeg | {net}"), "gives no gradients", "victim")
    two_lines(run("evaluate", "adv", "--victim", f"jpgg | {net}"), "no defence called 'jpgg'", "'jpeg'")
    two_lines(run("evaluate", "adv", "--victim", f"jpeg(99) | {net}"), "quality=99", "from 1 to 95")
