"""The learning rate from step to step."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from linbp.training.schedule import learning_rate


def test_it_rises_and_falls_in_straight_lines() -> None:
    rates = [learning_rate(0.4, step, 400, warm_up=0.25, fall="linear") for step in range(400)]
    assert max(rates) == rates[99] == rates[100] == pytest.approx(0.4)
    np.testing.assert_allclose(np.diff(rates[:100]), 0.4 / 100)
    np.testing.assert_allclose(np.diff(rates[100:]), -0.4 / 300)
    assert rates[-1] == pytest.approx(0.4 / 300)
    assert learning_rate(0.4, 0, 10, warm_up=0, fall="linear") == 0.4


def test_it_rises_in_a_line_and_falls_along_a_cosine() -> None:
    rates = [learning_rate(2.0, step, 20, warm_up=0.2, fall="cosine") for step in range(20)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
    assert rates[4] == 2.0
    assert rates[12] == pytest.approx(1.0)  # half-way down
    assert rates[16] == pytest.approx(1 - math.sqrt(0.5))  # three quarters
    assert all(before > after for before, after in itertools.pairwise(rates[4:]))
    assert rates[-1] > 0
    assert learning_rate(2.0, 0, 20, warm_up=0, fall="cosine") == 2.0
