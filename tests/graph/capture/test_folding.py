"""Batch norms are folded wherever that leaves the network what it is, whatever the network's dtype."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import fx, nn

import linbp
from linbp.graph.capture import folding


def calibrated(name: str) -> nn.Module:
    """A network of torchvision with weights from a seed and batch norms that know noise."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        module = torchvision.models.get_model(name, weights=None).train()
        with torch.no_grad():
            for _ in range(2):
                module(torch.randn(4, 3, 64, 64))
    return module.eval()


@pytest.mark.parametrize("name", [pytest.param("mobilenet_v2", marks=pytest.mark.exhaustive), "resnet18"])
def test_a_float32_network_is_compared_in_float64_throughout(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[float] = []
    measure = folding._folding_error

    def noted(*arguments: object) -> float:
        found.append(measure(*arguments))  # type: ignore[arg-type]
        return found[-1]

    monkeypatch.setattr(folding, "_folding_error", noted)
    surrogate = linbp.Surrogate(linbp.Model(calibrated(name), input_size=(3, 64, 64)), cache=False)
    assert found[0] < 1e-12, "rounding of float64, not of float32"
    assert not any(node.target is torch.ops.aten.batch_norm.default for node in surrogate._ordinary.graph.nodes)


def test_a_gradient_may_differ_in_one_image_and_not_in_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ReLU that falls on the other side of zero in one of the images says nothing about folding."""
    logits, gradients = torch.ones(2, 3), torch.ones(2, 3, 4, 4)

    def error(*flipped: int) -> float:
        other = gradients.clone()
        other[list(flipped)] *= 2
        answers = iter([(logits, gradients), (logits, other)])
        monkeypatch.setattr(folding, "_logits_and_gradient", lambda *_: next(answers))
        empty = fx.symbolic_trace(nn.Identity())
        return folding._folding_error(empty, torch.zeros(2, 3, 4, 4))

    assert error() == 0
    assert error(1) == 0
    assert error(0, 1) == 1


def test_the_batch_norms_of_a_very_large_network_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "_folding_error", None)
    monkeypatch.setattr(folding, "LARGEST", 1_000_000)
    module = calibrated("resnet18").double()
    surrogate = linbp.Surrogate(linbp.Model(module, input_size=(3, 64, 64)), cache=False)
    assert any("batch norms kept" in note for note in surrogate.notes)
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    assert torch.allclose(surrogate.logits(images), module(images), rtol=1e-9)
