"""What folding batch norms changes is measured once for each set of weights, and remembered."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import linbp
from linbp.graph.capture import folding


def network(seed: int) -> linbp.Model:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
        )
    return linbp.Model(module, input_size=(3, 8, 8))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[float]:
    monkeypatch.setenv("LINBP_CACHE", str(tmp_path))
    found: list[float] = []
    measure = folding._folding_error

    def counted(*arguments: object) -> float:
        found.append(measure(*arguments))  # type: ignore[arg-type]
        return found[-1]

    monkeypatch.setattr(folding, "_folding_error", counted)
    return found


def test_once_for_each_set_of_weights(measured: list[float]) -> None:
    first = linbp.Surrogate(network(0))
    assert linbp.Surrogate(network(0)).notes == first.notes
    assert len(measured) == 1
    linbp.Surrogate(network(1))
    assert len(measured) == 2
    linbp.Surrogate(network(0), cache=False)
    assert len(measured) == 3
    assert "folded" in first.notes[0]


def test_a_remembered_disagreement_keeps_the_batch_norms(
    measured: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(folding, "AGREEMENT", -1.0)
    for _ in range(2):
        assert "kept" in linbp.Surrogate(network(0)).notes[0]
    assert len(measured) == 1
    (kept,) = tmp_path.glob("*.txt")
    kept.write_text("half a num")  # a damaged file is measured again
    assert "kept" in linbp.Surrogate(network(0)).notes[0]
    assert len(measured) == 2
