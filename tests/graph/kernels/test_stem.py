"""The stem's input gradient by phases is the convolution's own."""

from __future__ import annotations

import pytest
import torch
from passes import random_images, seeded, with_passes
from torch import nn

import linbp
from linbp.graph.kernels.stem import Stem


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "height", "width"),
    [
        (7, 2, 3, 32, 32),
        (7, 2, 3, 33, 30),
        (7, 2, 0, 31, 29),
        (7, 2, 1, 24, 25),
        (11, 4, 2, 47, 44),
        (9, 4, 0, 33, 40),
        (8, 2, 3, 20, 20),
        (7, 3, 3, 26, 25),
    ],
)
def test_equals_autograd(kernel: int, stride: int, padding: int, height: int, width: int) -> None:
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 3, kernel, kernel, dtype=torch.float64, generator=draw)
    bias = torch.randn(5, dtype=torch.float64, generator=draw)
    images = torch.randn(2, 3, height, width, dtype=torch.float64, generator=draw).requires_grad_()
    expected = nn.functional.conv2d(images, weight, bias, stride, padding)
    found = Stem(weight, bias, stride, padding)(images)
    assert torch.equal(found, expected)
    gradient = torch.randn(expected.shape, dtype=torch.float64, generator=draw)
    (by_phases,) = torch.autograd.grad(found, images, gradient)
    (by_torch,) = torch.autograd.grad(expected, images, gradient)
    assert torch.allclose(by_phases, by_torch, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "used"), [(torch.float32, True), (torch.float64, False)])
def test_is_used_where_it_is_faster(dtype: torch.dtype, used: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(3, 8, 7, 2, 3), nn.ReLU(), nn.Conv2d(8, 4, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
        ).to(dtype)
    surrogate = linbp.Surrogate(linbp.Model(module, input_size=(3, 16, 16)), cache=False)
    stems = [child for child in surrogate._network.modules() if isinstance(child, Stem)]
    assert len(stems) == used
    images = torch.rand(3, 3, 16, 16, dtype=dtype, generator=torch.Generator().manual_seed(1)).requires_grad_()
    loss = nn.functional.cross_entropy(module(images), torch.tensor([0, 1, 2]), reduction="sum")
    (expected,) = torch.autograd.grad(loss, images)
    found = surrogate.gradient(images.detach(), [0, 1, 2])
    assert (found - expected).norm() / expected.norm() < 1e-5


@pytest.mark.parametrize(
    ("layer", "used"),
    [
        (nn.Conv2d(3, 8, 7, 2, 3), True),
        (nn.Conv2d(3, 8, 3, 1), False),
        (nn.Conv2d(3, 8, 4, 2), False),  # nothing would be gained
        (nn.Conv2d(3, 8, (7, 5), 2), False),
        (nn.Conv2d(3, 8, 7, (2, 1)), False),
        (nn.Conv2d(3, 8, 7, 2, (3, 0)), False),
        (nn.Conv2d(3, 8, 5, 2, dilation=2), False),
        (nn.Conv2d(3, 9, 7, 2, groups=3), False),
        (nn.Sequential(nn.Conv2d(3, 5, 1), nn.Conv2d(5, 8, 7, 2)), False),  # many input channels
    ],
    ids=str,
)
def test_is_for_square_strided_kernels_of_few_channels(layer: nn.Module, used: bool) -> None:
    module = seeded(
        lambda: nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(3)), torch.float32
    )
    module(random_images(1, 20, torch.float32))  # the lazy layer's width
    surrogate = linbp.Surrogate(linbp.Model(module, input_size=(3, 20, 20)), cache=False)
    (changed, counts), (plain, _) = with_passes(surrogate, None, "stem"), with_passes(surrogate, None)
    assert counts == {"stem": used}
    images = random_images(3, 20, torch.float32)
    found, expected = (each.gradient(images, [0, 1, 2]) for each in (changed, plain))
    assert torch.equal(found, expected) or used
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)
