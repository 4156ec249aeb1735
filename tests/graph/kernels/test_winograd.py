"""3 x 3 convolutions with half of the multiplications: the same values and gradients, and where they are used."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from exhaustive import marked
from hypothesis import given, settings
from hypothesis import strategies as st
from passes import random_images, seeded
from torch import fx, nn

import linbp
from linbp.graph.kernels.groups import FIRST_GROUP, GROUP_SIZES
from linbp.graph.kernels.winograd import Winograd, winograd

SIDE = 101
"""No multiple of four: the last rows of a convolution are filled up."""


class Net(nn.Module):
    """A residual block, whose second convolution has another width; both are large enough for single images too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first = nn.Conv2d(3, 104, 3, padding=1), nn.Conv2d(104, 96, 3, padding=1)
        self.second, self.head = nn.Conv2d(96, 104, 3, padding=1), nn.Linear(104, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = torch.relu(self.stem(images))
        value = torch.relu(value + self.second(torch.relu(self.first(value))))
        logits: torch.Tensor = self.head(value.mean((2, 3)))
        return logits


@functools.cache
def surrogate(dtype: torch.dtype) -> linbp.Surrogate:
    return linbp.Surrogate(linbp.Model(seeded(Net, dtype), input_size=(3, SIDE, SIDE)), cache=False)


def count(network: nn.Module) -> int:
    return sum(isinstance(one, Winograd) for one in network.modules())


@given(
    images=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    side=st.tuples(st.integers(3, 22), st.integers(3, 11)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    biased=st.booleans(),
    order=st.sampled_from([torch.contiguous_format, torch.channels_last]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_values_and_gradients_are_those_of_torch_in_float64(
    images: int,
    channels: tuple[int, int],
    side: tuple[int, int],
    padding: tuple[int, int],
    biased: bool,
    order: torch.memory_format,
    seed: int,
) -> None:
    into, out = channels
    draw = torch.Generator().manual_seed(seed)
    weight, bias = torch.randn(out, into, 3, 3, generator=draw), torch.randn(out, generator=draw) if biased else None
    value = torch.randn(images, into, *side, generator=draw).contiguous(memory_format=order).requires_grad_()
    exact = nn.functional.conv2d(value.double(), weight.double(), None if bias is None else bias.double(), 1, padding)
    found = Winograd(weight, bias, padding)(value)
    assert found.shape == exact.shape
    assert (found - exact).norm() <= 2e-6 * exact.norm() + 1e-6
    for at in (torch.randn(found.shape, generator=draw), torch.ones(()).expand(found.shape)):
        (passed,) = torch.autograd.grad(found, value, at, retain_graph=True)
        (wanted,) = torch.autograd.grad(exact, value, at.double(), retain_graph=True)
        assert (passed - wanted).norm() <= 2e-6 * wanted.norm() + 1e-6


@pytest.mark.parametrize("rule", [None, linbp.LinBP(start=0)], ids=["ordinary", "linbp"])
@pytest.mark.parametrize("size", marked([one for one in GROUP_SIZES if one != FIRST_GROUP], {16, 32}))
def test_an_image_has_the_same_bits_in_any_position_and_company(rule: Any, size: int) -> None:
    ruled = surrogate(torch.float32).with_rule(rule).grouped(size)
    assert count(ruled._with_rules) == 2  # not in the stem, with its three channels
    images, labels = random_images(5, SIDE, torch.float32), torch.arange(5)
    whole = ruled.gradient(images, labels)
    for rows in ([3], [4, 0], [4, 3, 2, 1, 0]):
        assert torch.equal(ruled.gradient(images[rows], labels[rows]), whole[rows]), rows
    exact = surrogate(torch.float64).with_rule(rule).gradient(images.double(), labels)
    off = (whole - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)
    assert off.median() <= 2e-6  # in some images a ReLU flips


def test_more_images_at_a_time_have_more_rows() -> None:
    module = seeded(
        lambda: nn.Sequential(nn.Conv2d(3, 80, 1), nn.Conv2d(80, 80, 3), nn.Flatten(), nn.LazyLinear(3)), torch.float32
    )
    module(random_images(1, 34, torch.float32))
    captured = linbp.Surrogate(linbp.Model(module, input_size=(3, 34, 34)), cache=False)
    assert [count(captured.grouped(size)._with_rules) for size in (1, 4, 16)] == [0, 1, 1]


def test_groups_of_eight_have_the_bits_of_the_first_versions() -> None:
    assert count(surrogate(torch.float32).grouped(FIRST_GROUP)._with_rules) == 0
    assert count(surrogate(torch.float64)._with_rules) == 0


@pytest.mark.parametrize(
    ("layer", "side", "used"),
    [
        (nn.Conv2d(72, 72, 3, padding=1), 25, True),
        (nn.Conv2d(72, 72, 3), 27, True),
        (nn.Conv2d(72, 72, 3, padding=(2, 0)), 23, True),
        (nn.Conv2d(64, 96, 3, padding=1), 25, True),
        (nn.Conv2d(72, 72, 3, padding=1), 24, False),  # too few rows
        (nn.Conv2d(71, 72, 3, padding=1), 40, False),  # too few channels
        (nn.Conv2d(256, 256, 3, padding=1), 24, False),  # however many channels there are
        (nn.Conv2d(72, 72, 3, padding=3), 36, False),
        (nn.Conv2d(72, 72, 3, stride=(1, 2), padding=1), 36, False),
        (nn.Conv2d(72, 72, 3, dilation=2), 40, False),
        (nn.Conv2d(144, 144, 3, groups=2, padding=1), 36, False),
        (nn.Conv2d(72, 72, (1, 3)), 36, False),
        (nn.Conv2d(72, 72, 5), 40, False),
    ],
    ids=str,
)
def test_is_for_wide_kernels_of_three_by_three(layer: nn.Conv2d, side: int, used: bool) -> None:
    module = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, layer.in_channels, 1), layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(3)
        ),
        torch.float32,
    )
    images = random_images(3, side, torch.float32)
    module(images)  # the lazy layer's width
    captured = linbp.Surrogate(linbp.Model(module, input_size=(3, side, side)), cache=False, group_size=8)
    assert isinstance(captured._with_rules, fx.GraphModule)
    assert winograd(captured._with_rules, 4) == used
    captured._with_rules.recompile()
    leaf = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(module(leaf)[:, 0].sum(), leaf)
    (found,) = torch.autograd.grad(captured._with_rules(leaf)[:, 0].sum(), leaf)
    assert (found - expected).norm() <= 1e-5 * expected.norm()
