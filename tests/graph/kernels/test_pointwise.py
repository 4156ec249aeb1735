"""1 x 1 convolutions by oneDNN: the same network to the last digits, in branches too, and not in groups of eight."""

from __future__ import annotations

import functools

import pytest
import torch
from passes import Every, random_images, seeded
from torch import fx, nn

import linbp
from linbp.graph.kernels.entry import Entry
from linbp.graph.kernels.pointwise import Pointwise, onednn, pointwise

RULES = {"ordinary": None, "branches": linbp.LinBP(start=0), "sites": linbp.LinBP(start=0, rebalance="site")}
COUNTS = {"ordinary": (4, 0), "branches": (2, 2), "sites": (4, 0)}
"""Modules of each kind: the bottlenecks' four convolutions, of which two are entries of branches."""


@functools.cache
def surrogate(dtype: torch.dtype) -> linbp.Surrogate:
    return linbp.Surrogate(linbp.Model(seeded(Every, dtype), input_size=(3, Every.side, Every.side)), cache=False)


def counted(network: nn.Module) -> tuple[int, int]:
    modules = list(network.modules())
    by_onednn = [one for one in modules if isinstance(one, Entry) and one.convolve is onednn]
    return sum(isinstance(one, Pointwise) for one in modules), len(by_onednn)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [1, 4])
def test_all_groups_but_eight_compute_them_by_onednn_and_the_same_gradient(rule: str, size: int) -> None:
    plain = surrogate(torch.float32).with_rule(RULES[rule]).grouped(8)
    fast = plain.grouped(size)
    assert counted(plain._with_rules) == (0, 0)
    assert counted(fast._with_rules) == COUNTS[rule]
    assert counted(fast.grouped(8)._with_rules) == (0, 0)
    assert counted(fast.with_rule(RULES[rule])._with_rules) == COUNTS[rule]
    images = random_images(3, Every.side, torch.float32)
    exact = surrogate(torch.float64).with_rule(RULES[rule]).gradient(images.double(), [0, 1, 2])
    for found in (plain, fast):
        off = (found.gradient(images, [0, 1, 2]).double() - exact).norm() / exact.norm()
        assert 0 < off < 2e-6
    assert (fast.run(images) - plain.run(images)).norm() <= 2e-6 * plain.run(images).norm()


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_in_any_memory_format(order: torch.memory_format) -> None:
    draw = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(5, 7, 1, 1, generator=draw), torch.randn(5, generator=draw)
    value = torch.randn(2, 7, 3, 4, generator=draw).contiguous(memory_format=order).requires_grad_()
    exact = nn.functional.conv2d(value.double(), weight.double(), bias.double())
    found = Pointwise(weight, bias)(value)
    assert torch.allclose(found.double(), exact, rtol=1e-5, atol=1e-5)
    for at in (torch.randn(found.shape, generator=draw), torch.ones(()).expand(found.shape)):
        (passed,) = torch.autograd.grad(found, value, at, retain_graph=True)
        (wanted,) = torch.autograd.grad(exact, value, at.double(), retain_graph=True)
        assert torch.allclose(passed, wanted, rtol=1e-5, atol=1e-5)


def test_only_those_of_stride_one_without_padding_or_groups() -> None:
    layers = [nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1, stride=2), nn.Conv2d(4, 4, 1, padding=1)]
    layers += [nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(4, 4, 3)]
    for dtype, count in ((torch.float32, 1), (torch.float64, 0)):
        module = nn.Sequential(nn.Conv2d(3, 4, 3), *layers, nn.Flatten(), nn.LazyLinear(5)).to(dtype)
        module(torch.zeros(1, 3, 16, 16, dtype=dtype))
        model = linbp.Model(module, input_size=(3, 16, 16))
        network = linbp.Surrogate(model, cache=False, group_size=8)._with_rules
        assert isinstance(network, fx.GraphModule)
        assert pointwise(network) == count
