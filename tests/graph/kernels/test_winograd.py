"""Convolutions by Winograd's minimal filtering are the convolutions that they stand for, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import linbp
from linbp.graph.kernels.winograd import Winograd


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 7), (1, 1), (5, 8), (2, 3), (14, 9)])
def test_equals_the_convolution(height: int, width: int, memory_format: torch.memory_format) -> None:
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 4, 3, 3, dtype=torch.float64, generator=draw)
    bias = torch.randn(5, dtype=torch.float64, generator=draw) if width != 3 else None
    maps = torch.randn(3, 4, height, width, dtype=torch.float64, generator=draw)
    maps = maps.contiguous(memory_format=memory_format).requires_grad_()
    expected = nn.functional.conv2d(maps, weight, bias, padding=1)
    found = Winograd(weight, bias)(maps)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    gradient = torch.randn(expected.shape, dtype=torch.float64, generator=draw)
    (by_tiles,) = torch.autograd.grad(found, maps, gradient)
    (by_torch,) = torch.autograd.grad(expected, maps, gradient)
    assert torch.allclose(by_tiles, by_torch, rtol=0, atol=1e-12)


def test_float32_is_as_exact_as_the_direct_convolution() -> None:
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(256, 256, 3, 3, generator=draw)
    maps = torch.randn(2, 256, 8, 8, generator=draw)
    exact = nn.functional.conv2d(maps.double(), weight.double(), padding=1)
    for found in (Winograd(weight, None)(maps), nn.functional.conv2d(maps, weight, padding=1)):
        assert (found.double() - exact).norm() / exact.norm() < 2e-6


def test_its_result_may_be_written_over() -> None:
    maps = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    convolution = Winograd(torch.eye(2)[:, :, None, None].repeat(1, 1, 3, 3), None)
    result = convolution(maps).relu_()
    result.sum().backward()
    assert maps.grad is not None
    assert maps.grad.abs().sum() > 0


def network(channels: int, size: int, dtype: torch.dtype) -> nn.Module:
    """Two convolutions, the second of 3 x 3 with many channels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, channels, 1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(size),
            nn.Flatten(),
            nn.Linear(channels, 3),
        ).to(dtype)


@pytest.mark.parametrize(
    ("channels", "size", "dtype", "used"),
    [
        (256, 8, torch.float32, True),
        (256, 8, torch.float64, False),
        (128, 8, torch.float32, False),  # the transforms would cost more than they save
        (256, 7, torch.float32, False),  # too much of its tiles sticks out
        (384, 7, torch.float32, True),
        (256, 64, torch.float32, False),  # too large
    ],
)
def test_is_used_where_it_is_faster(channels: int, size: int, dtype: torch.dtype, used: bool) -> None:
    module = network(channels, size, dtype)
    surrogate = linbp.Surrogate(linbp.Model(module, input_size=(3, size, size)), cache=False)
    found = [child for child in surrogate._network.modules() if isinstance(child, Winograd)]
    assert len(found) == used
    images = torch.rand(2, 3, size, size, dtype=dtype, generator=torch.Generator().manual_seed(1)).requires_grad_()
    loss = nn.functional.cross_entropy(module(images), torch.tensor([0, 1]), reduction="sum")
    (expected,) = torch.autograd.grad(loss, images)
    gradient = surrogate.gradient(images.detach(), [0, 1])
    # not closer: activations within rounding of zero fall on either side of it
    assert (gradient - expected).norm() / expected.norm() < 5e-3


def test_networks_with_different_rules_share_the_transformed_kernels() -> None:
    surrogate = linbp.Surrogate(linbp.Model(network(256, 8, torch.float32), input_size=(3, 8, 8)), cache=False)
    other = surrogate.with_rule(linbp.LinBP(start=0))
    first, second = (
        next(child for child in each._network.modules() if isinstance(child, Winograd)) for each in (surrogate, other)
    )
    assert first is not second
    assert first.kernels is second.kernels


def test_an_image_has_the_same_bits_in_any_company() -> None:
    surrogate = linbp.Surrogate(linbp.Model(network(384, 7, torch.float32), input_size=(3, 7, 7)), cache=False)
    images = torch.rand(11, 3, 7, 7, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(11) % 3
    whole = surrogate.gradient(images, labels)
    for rows in ([4], [10, 0], [3, 2, 1], [7, 6, 5, 4, 3, 2, 1, 0, 10]):
        assert torch.equal(surrogate.gradient(images[rows], labels[rows]), whole[rows])
