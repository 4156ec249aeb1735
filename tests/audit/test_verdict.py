"""The verdict's rule against Wilson's bounds computed by hand, and how thresholds are read."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linbp.audit.verdict import decide, decisive_radius, read_thresholds
from linbp.errors import BudgetError
from linbp.evaluation.statistics import rate

Z2 = Fraction(1.959963984540054) ** 2
"""The square of the normal distribution's 97.5% point."""


def shown_above(successes: int, n: int, threshold: Fraction) -> bool:
    """Whether Wilson's lower bound is above a threshold, without square roots: the score test at the threshold rejects.

    The bounds are the shares t at which (p - t)^2 = z^2 t (1 - t) / n, so that t lies below the interval exactly where
    p > t and (p - t)^2 > z^2 t (1 - t) / n.
    """
    gap = Fraction(successes, n) - threshold
    return gap > 0 and gap**2 > Z2 * threshold * (1 - threshold) / n


@given(st.integers(1, 400), st.data())
def test_it_fails_exactly_where_the_bound_by_hand_is_beyond_the_threshold(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    threshold = Fraction(data.draw(st.integers(0, 100)), 100)
    above = shown_above(successes, n, threshold)
    below = shown_above(n - successes, n, 1 - threshold)
    found = rate(successes, n)
    (lenient,) = decide([(8 / 255, "8/255", found)], {8 / 255: float(threshold)}, strict=False)
    (strict,) = decide([(8 / 255, "8/255", found)], {8 / 255: float(threshold)}, strict=True)
    if min(abs(found.low - threshold), abs(found.high - threshold)) > 1e-9:  # else rounding decides
        assert lenient.failed is above
        assert strict.failed is not below
        assert lenient.certain is strict.certain is (above or below)


def test_by_the_formula_on_paper() -> None:
    # 30 of 50: p = 0.6, z = 1.96: centre (0.6 + 0.03842) / 1.07683 = 0.59287,
    # half-width 1.96 sqrt(0.6 * 0.4 / 50 + 0.00038) / 1.07683 = 0.13097
    (found,) = decide([(0.1, "0.1", rate(30, 50))], {0.1: 0.46}, strict=False)
    assert found.exposure.low == pytest.approx(0.4618, abs=1e-3)
    assert found.exposure.high == pytest.approx(0.7239, abs=1e-3)
    assert found.failed
    (found,) = decide([(0.1, "0.1", rate(30, 50))], {0.1: 0.47}, strict=False)
    assert not found.failed
    assert not found.certain


def test_without_a_threshold_nothing_is_decided() -> None:
    (found,) = decide([(0.1, "0.1", rate(3, 5))], {}, strict=True)
    assert found.failed is None
    assert not found.certain


def test_thresholds_are_read() -> None:
    radii = ("4/255", "8/255", "0.1")
    assert read_thresholds(["0.35"], radii, "8/255") == {8 / 255: 0.35}
    assert read_thresholds([0.35], radii, "8/255") == {8 / 255: 0.35}
    found = read_thresholds(["20%", "4/255 = 0.1", "0.1=.5"], radii, "8/255")
    assert found == {8 / 255: pytest.approx(0.2), 4 / 255: 0.1, 0.1: 0.5}


@pytest.mark.parametrize("text", ["1.5", "-0.1", "150%", "much", "", "8/255=", "16/255=0.3", "x=0.3", "nan"])
def test_what_is_no_threshold_is_refused(text: str) -> None:
    with pytest.raises(BudgetError):
        read_thresholds([text], ("4/255", "8/255"), "8/255")
    with pytest.raises(BudgetError):
        read_thresholds(["0.3", "8/255=0.4"], ("4/255", "8/255"), "8/255")


def test_the_decisive_radius_is_the_suites_or_the_largest() -> None:
    assert decisive_radius(("2/255", "8/255", "16/255"), "8/255") == "8/255"
    assert decisive_radius(("16/255", f"{8 / 255}"), "8/255") == f"{8 / 255}"
    assert decisive_radius(("4/255", "0.1", "2/255"), "8/255") == "0.1"
