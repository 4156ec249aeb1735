"""The ratio of two gradients' norms, one an image."""

from __future__ import annotations

import pytest
import torch

from linbp.graph import norm_ratio


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
