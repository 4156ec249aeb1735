"""Residual networks whose projections spread their gradient, against sums written out."""

from __future__ import annotations

from importlib import import_module as script
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

import linbp
from linbp.errors import ModelError
from linbp.graph import Scale

pytestmark = [pytest.mark.study, pytest.mark.usefixtures("scripts")]
SIZE = 8


def network() -> linbp.Model:
    """Blocks beside a projection with a stride, beside the identity, and beside a projection without a stride."""
    torch.manual_seed(3)
    strided, plain = (nn.Conv2d(4, 6, 1, stride=2, bias=False), nn.Conv2d(6, 5, 1, bias=False))
    blocks = (
        BasicBlock(4, 6, stride=2, downsample=nn.Sequential(strided, nn.BatchNorm2d(6))),
        BasicBlock(6, 6),
        BasicBlock(6, 5, downsample=nn.Sequential(plain, nn.BatchNorm2d(5))),
    )
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *blocks, nn.Flatten(), nn.Linear(5 * 16, 5))
    return linbp.Model(module.double().eval(), input_size=(3, SIZE, SIZE))


def test_the_gradient_is_spread_and_the_value_is_not() -> None:
    value = torch.rand(2, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    result = script("common.spread").Spread()(value)
    assert torch.equal(result, value)
    arriving = torch.rand_like(value)
    (found,) = torch.autograd.grad(result, value, arriving)
    expected = torch.zeros_like(value)
    weights = {-1: 0.25, 0: 0.5, 1: 0.25}
    for row in range(5):
        for column in range(6):
            for down, across in ((down, across) for down in weights for across in weights):
                below, beside = min(max(row + down, 0), 4), min(max(column + across, 0), 5)
                expected[:, :, below, beside] += weights[down] * weights[across] * arriving[:, :, row, column]
    assert torch.allclose(found, expected, rtol=1e-12)
    assert torch.allclose(found.sum((2, 3)), arriving.sum((2, 3)), rtol=1e-12)


def test_a_surrogate_has_the_logits_the_junctions_and_another_gradient() -> None:
    model = network()
    changed = script("common.spread").spread(model)
    kinds = [type(one).__name__ for one in changed.modules()]
    assert kinds.count("Spread") == 1
    images = torch.rand(2, 3, SIZE, SIZE, dtype=torch.float64)
    labels = torch.tensor([0, 4])
    before, after = (linbp.Surrogate(one, cache=False) for one in (model, changed))
    assert torch.allclose(after.logits(images), before.logits(images), rtol=1e-12)
    assert [one.skip_is_identity for one in after.junctions] == [False, True, False]
    leaf = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(nn.functional.cross_entropy(changed(leaf), labels, reduction="sum"), leaf)
    assert torch.allclose(after.gradient(images, labels), expected, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(before.gradient(images, labels), expected, rtol=1e-2)
    halved: list[Any] = [one.with_rule(linbp.SGM(gamma=0.5, skips="projection")) for one in (before, after)]
    assert halved[0].plan.edges == halved[1].plan.edges == {0: Scale(0.5), 2: Scale(0.5)}


def test_a_network_without_such_a_projection_is_refused() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5))
    with pytest.raises(ModelError, match="no downsample with a stride"):
        script("common.spread").spread(linbp.Model(module, input_size=(3, SIZE, SIZE)))


def test_the_suites_surrogate_is_the_network_that_ships_with_another_gradient() -> None:
    path = Path(__file__).parents[2] / "experiments" / "common" / "spread.py"
    changed, shipped = linbp.load_model(f"file:{path}:resnet18"), linbp.load_model("demo:cifar10/resnet18")
    images = torch.rand(2, 3, 32, 32)
    assert [type(one).__name__ for one in changed.modules()].count("Spread") == 3
    with torch.no_grad():
        assert torch.allclose(changed.logits(images), shipped.logits(images), atol=1e-4)
