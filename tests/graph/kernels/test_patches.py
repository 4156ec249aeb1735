"""The input gradient of patches as one product of matrices is the convolution's own."""

from __future__ import annotations

import pytest
import torch
from passes import random_images, seeded, with_passes
from torch import nn

import linbp
from linbp.graph.kernels.patches import Patches


@pytest.mark.parametrize(
    ("side", "channels", "height", "width"),
    [((4, 4), 3, 16, 16), ((4, 4), 3, 19, 22), ((2, 3), 1, 8, 9), ((16, 16), 4, 32, 48), ((7, 1), 2, 15, 3)],
)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_equals_autograd(
    side: tuple[int, int], channels: int, height: int, width: int, memory_format: torch.memory_format
) -> None:
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(5, channels, *side, dtype=torch.float64, generator=draw).contiguous(
        memory_format=memory_format
    )
    bias = torch.randn(5, dtype=torch.float64, generator=draw)
    images = torch.randn(2, channels, height, width, dtype=torch.float64, generator=draw)
    images = images.contiguous(memory_format=memory_format).requires_grad_()
    expected = nn.functional.conv2d(images, weight, bias, side)
    found = Patches(weight, bias)(images)
    assert torch.equal(found, expected)
    gradient = torch.randn(expected.shape, dtype=torch.float64, generator=draw)
    (by_product,) = torch.autograd.grad(found, images, gradient)
    (by_torch,) = torch.autograd.grad(expected, images, gradient)
    assert torch.allclose(by_product, by_torch, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("layer", "used"),
    [
        (nn.Conv2d(3, 8, 4, 4), True),
        (nn.Conv2d(3, 8, (4, 2), (4, 2), bias=False), True),
        (nn.Conv2d(3, 8, 1), False),
        (nn.Conv2d(3, 8, 4, 2), False),
        (nn.Conv2d(3, 8, 2, 4), False),
        (nn.Conv2d(3, 8, 4, 4, padding=1), False),
        (nn.Conv2d(3, 8, 4, 4, dilation=2), False),
        (nn.Conv2d(3, 9, 4, 4, groups=3), False),
        (nn.Sequential(nn.Conv2d(3, 5, 1), nn.Conv2d(5, 8, 4, 4)), False),  # many input channels
    ],
    ids=str,
)
def test_is_for_patches_of_few_channels_that_do_not_overlap(layer: nn.Module, used: bool) -> None:
    module = seeded(
        lambda: nn.Sequential(layer, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(3)), torch.float32
    )
    module(random_images(1, 21, torch.float32))  # the lazy layer's width
    surrogate = linbp.Surrogate(linbp.Model(module, input_size=(3, 21, 21)), cache=False)
    (changed, counts), (plain, _) = with_passes(surrogate, None, "patches"), with_passes(surrogate, None)
    assert counts == {"patches": used}
    images = random_images(3, 21, torch.float32)
    found, expected = (each.gradient(images, [0, 1, 2]) for each in (changed, plain))
    assert torch.equal(found, expected) or used
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)
