"""Comparisons of two attacks: against statsmodels and all signs, and by simulation with and without a difference."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels
from statsmodels.stats.multitest import multipletests

from linbp.evaluation.statistics import (
    difference_by_image,
    holm,
    mcnemar,
    paired_test,
    rate,
    sign_flip_p,
    worst_case,
)

RUNS, FLIPS = 300, 199


def pair(draw: np.random.Generator, images: int, gain: float) -> np.ndarray:
    """What each image adds to the difference of two attacks on five victims that answer much alike.

    Each image has a difficulty that both attacks meet; the first succeeds more often by `gain`.
    """
    easy = draw.random(images)
    one = draw.random((5, images)) < np.clip(easy + gain, 0, 1)
    return difference_by_image(one, draw.random((5, images)) < easy)


def test_parts_of_images_have_the_difference_of_the_means_as_their_mean() -> None:
    draw = np.random.default_rng(0)
    one, other, counted = (draw.random((4, 50)) < share for share in (0.6, 0.4, 0.7))
    rates = [one[v][counted[v]].mean() - other[v][counted[v]].mean() for v in range(4)]
    parts = difference_by_image(one, other, counted)
    assert parts.mean() == pytest.approx(np.mean(rates))
    assert (parts[~counted.any(0)] == 0).all()
    found = paired_test(parts, unit=100)
    assert found.value == pytest.approx(100 * np.mean(rates))
    assert found.low < found.value < found.high


def test_victims_that_no_image_counts_for_are_left_out() -> None:
    draw = np.random.default_rng(1)
    one, other, counted = (draw.random((3, 40)) < share for share in (0.6, 0.4, 0.7))
    alone = difference_by_image(one[1:], other[1:], counted[1:])
    counted[0] = False
    assert difference_by_image(one, other, counted) == pytest.approx(alone)
    assert not difference_by_image(one, other, counted & False).any()


def test_few_images_get_the_share_of_all_signs() -> None:
    values = np.array([0.5, 0.25, -0.125, 0.75, 1.0, 0.0625])
    means = [float(np.mean(values * signs)) for signs in product((-1, 1), repeat=len(values))]
    expected = 2 * np.mean([mean >= values.mean() for mean in means])
    assert paired_test(values).p == pytest.approx(expected)
    assert paired_test(values, flips=9_999).p == pytest.approx(expected)


def test_the_p_of_many_comparisons_is_that_of_scipys_permutations() -> None:
    draw = np.random.default_rng(12)
    few, many = draw.integers(-2, 4, (3, 12)) / 3, draw.normal(0.08, 1, (4, 300))  # exact, and drawn
    for rows in (few, many):
        found = sign_flip_p(rows)
        for row, p in zip(rows, found, strict=True):
            assert p == pytest.approx(paired_test(row, flips=9_999).p, rel=0.15, abs=0.012)
            assert sign_flip_p(row) == pytest.approx(p)
    assert sign_flip_p(np.zeros((2, 9))).tolist() == [1, 1]


def test_for_one_victim_the_p_of_flips_is_mcnemars() -> None:
    draw = np.random.default_rng(6)
    for images, share in ((30, 0.6), (400, 0.55), (3000, 0.51)):
        one, other = draw.random(images) < share, draw.random(images) < 0.5
        assert paired_test(one.astype(float) - other).p == pytest.approx(mcnemar(one, other)[2])


@pytest.mark.slow
def test_without_a_difference_the_test_finds_one_as_often_as_it_may() -> None:
    draw = np.random.default_rng(1)
    found = sum(paired_test(pair(draw, 60, 0.0), flips=FLIPS, seed=seed).p <= 0.05 for seed in range(RUNS))
    assert found <= binom.ppf(0.999, RUNS, 0.05)
    assert found >= binom.ppf(0.001, RUNS, 0.02)  # the test is not only cautious


@pytest.mark.slow
def test_a_difference_is_found_and_more_surely_on_more_images() -> None:
    draw = np.random.default_rng(2)
    power = [
        sum(paired_test(pair(draw, images, 0.08), flips=FLIPS, seed=seed).p <= 0.05 for seed in range(60)) / 60
        for images in (20, 100, 300)
    ]
    assert power[0] < power[1] < power[2]
    assert power[2] > 0.9


def test_no_difference_at_all_has_p_one() -> None:
    found = paired_test(np.zeros(30))
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_the_test_repeats_itself_with_its_seed() -> None:
    values = pair(np.random.default_rng(3), 100, 0.05)
    assert paired_test(values, seed=1) == paired_test(values, seed=1)
    assert paired_test(values, seed=1) != paired_test(values, seed=2)


def test_holms_p_values_are_those_of_statsmodels() -> None:
    draw = np.random.default_rng(7)
    for count in (1, 2, 3, 6, 11, 24):
        p_values = (draw.random(count) ** 3).round(2 if count % 2 else 9).tolist()  # with ties, and without
        assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]), abs=1e-15)


def test_holm_bounds_the_chance_of_any_false_discovery() -> None:
    """Ten comparisons, seven of them of nothing; they share a baseline, so that their p values are not independent."""
    draw, runs, false, found = np.random.default_rng(4), 4000, 0, 0
    effects = np.array([0.0] * 7 + [4.0] * 3)
    for shared, own in zip(draw.normal(size=runs), draw.normal(size=(runs, 10)), strict=True):
        p_values = 2 * norm.sf(np.abs(effects + (shared + own) / np.sqrt(2)))
        rejected = np.array(holm(p_values.tolist())) <= 0.05
        false += rejected[:7].any()
        found += rejected[7:].all()
    assert false <= binom.ppf(0.999, runs, 0.05)
    assert found > runs / 2
    assert holm([]) == []


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemars_test_is_that_of_statsmodels(pairs: list[tuple[bool, bool]]) -> None:
    one, other = ([each[side] for each in pairs] for side in (0, 1))
    first, second = (sum(a and not b for a, b in some) for some in (pairs, [(b, a) for a, b in pairs]))
    expected = mcnemar_of_statsmodels([[0, first], [second, 0]], exact=True).pvalue
    assert mcnemar(one, other) == (first, second, pytest.approx(min(1.0, expected)))


def test_the_worst_case_is_any_attack_on_each_image() -> None:
    draw = np.random.default_rng(5)
    success, counted = draw.random((3, 200)) < 0.3, draw.random(200) < 0.8
    found = worst_case(success, counted)
    wins = sum(any(success[attack][i] for attack in range(3)) for i in range(200) if counted[i])
    assert (found.successes, found.n) == (wins, counted.sum())
    assert found == rate(wins, int(counted.sum()))
    assert worst_case(success[:1]).successes == success[0].sum()
    assert all(found.value >= rate(int((one & counted).sum()), int(counted.sum())).value for one in success)
    assert worst_case(success[:2], counted).successes <= found.successes


@pytest.mark.parametrize(("successes", "n", "saturated"), [(95, 100, False), (96, 100, True), (0, 0, False)])
def test_a_rate_above_95_percent_tells_no_attacks_apart(successes: int, n: int, saturated: bool) -> None:
    assert rate(successes, n).saturated is saturated
