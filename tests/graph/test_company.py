"""An image's gradient has the same bits in any company, and ratios survive gradients of any size."""

from __future__ import annotations

import pytest
import torch
import torchvision

import linbp
from linbp.graph import norm_ratio


@pytest.mark.slow
@pytest.mark.parametrize("rule", [None, linbp.LinBP(start=0.3)])
def test_float32_gradients_do_not_depend_on_the_batch(rule: linbp.LinBP | None) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = torchvision.models.resnet18()
    surrogate = linbp.Surrogate(linbp.Model(module, input_size=(3, 64, 64)), rule=rule, cache=False)
    images = torch.rand(11, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(11)
    whole = surrogate.gradient(images, labels)
    for rows in ([4], [10, 0], [3, 2, 1], [7, 6, 5, 4, 3, 2, 1, 0, 10]):
        assert torch.equal(surrogate.gradient(images[rows], labels[rows]), whole[rows])


@pytest.mark.parametrize("size", [1e-30, 1e-20, 1.0, 1e20, 1e30])
def test_ratios_of_gradients_of_any_size(size: float) -> None:
    small = torch.full((2, 3, 4, 4), size)
    large = torch.stack([torch.full((3, 4, 4), 3 * size), torch.ones(3, 4, 4)])
    found = norm_ratio(large, small)
    assert found.shape == (2, 1, 1, 1)
    assert found[0].item() == pytest.approx(3, rel=1e-6)


def test_a_ratio_to_nothing_is_nothing() -> None:
    zero = torch.zeros(1, 3, 4, 4)
    assert norm_ratio(zero, zero).item() == 0
    assert norm_ratio(torch.ones(1, 3, 4, 4), zero).item() == 0
