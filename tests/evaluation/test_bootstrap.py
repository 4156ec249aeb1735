"""Intervals from images drawn again: against scipy, and by simulation, where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, bootstrap
from statsmodels.stats.proportion import proportion_confint

from linbp.evaluation.statistics import bootstrap_mean, mean_over_victims, rate, resample_counts

RUNS = 300


def answers(draw: np.random.Generator, victims: int, images: int, alike: float) -> np.ndarray:
    """Successes (victims, images), half of them on average; with that probability a victim does what the first does."""
    own = draw.random((victims, images)) < 0.5
    return np.where(draw.random((victims, images)) < alike, own[0], own)


def enough(covered: int, runs: int = RUNS, level: float = 0.95, slack: float = 0.0) -> bool:
    """Whether an interval of that coverage (less the slack) would cover so seldom once in 1000 times."""
    return bool(covered >= binom.ppf(0.001, runs, level - slack))


@pytest.mark.parametrize("n", [20, 60, 400])
@pytest.mark.parametrize("p", [0.05, 0.3, 0.5, 0.9])
def test_wilsons_interval_covers_the_truth(p: float, n: int) -> None:
    # Every outcome has an interval of its own, so that the coverage is a sum of binomial probabilities. Wilson's is
    # 95% on average over p; at one p it swings around that.
    inside = [rate(k, n).low <= p <= rate(k, n).high for k in range(n + 1)]
    covered = float(binom.pmf(np.arange(n + 1), n, p)[inside].sum())
    assert 0.91 < covered <= 0.99


@pytest.mark.parametrize(("p", "n"), [(0.2, 100), (0.5, 50), (0.8, 300)])
def test_the_bootstrap_covers_a_mean_over_images(p: float, n: int) -> None:
    draw, covered = np.random.default_rng(n), 0
    for _ in range(RUNS):
        found = bootstrap_mean(draw.binomial(4, p, n) / 4, resamples=1000)
        covered += found.low <= p <= found.high
    assert enough(covered, slack=0.01)  # percentile intervals are a little short on few images
    assert covered < RUNS


@pytest.mark.parametrize("alike", [0.0, 0.7])
def test_the_bootstrap_covers_a_mean_over_victims_that_answer_alike(alike: float) -> None:
    draw, covered, pooled = np.random.default_rng(1), 0, 0
    for _ in range(RUNS):
        success = answers(draw, 6, 80, alike)
        counted = draw.random(success.shape) < 0.8
        found = mean_over_victims(success, counted, resamples=1000)
        covered += found.low <= 0.5 <= found.high
        one = rate(int((success & counted).sum()), int(counted.sum()))
        pooled += one.low <= 0.5 <= one.high
    assert enough(covered, slack=0.015)
    assert enough(pooled) is (alike == 0)  # pairs of image and victim are no independent trials


def test_images_drawn_again_give_a_wider_interval_than_pooled_pairs_where_victims_answer_alike() -> None:
    success = answers(np.random.default_rng(5), 7, 300, alike=0.8)
    found, pooled = mean_over_victims(success), rate(int(success.sum()), success.size)
    assert found.value == pytest.approx(pooled.value)
    assert found.high - found.low > 1.7 * (pooled.high - pooled.low)
    apart = mean_over_victims(answers(np.random.default_rng(5), 7, 300, alike=0.0))
    assert apart.high - apart.low == pytest.approx(pooled.high - pooled.low, rel=0.15)


def test_intervals_are_those_of_scipy_but_for_the_draws() -> None:
    values = np.random.default_rng(2).gamma(2, size=150)
    ours = bootstrap_mean(values, resamples=40_000)
    theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=40_000, rng=7).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01 * values.std())
    narrow = bootstrap_mean(values, 0.5)
    assert ours.low < narrow.low < ours.value < narrow.high < ours.high


def test_with_all_images_counted_a_mean_over_victims_is_a_mean_over_images() -> None:
    success = np.random.default_rng(3).random((5, 90)) < 0.3
    whole, by_image = mean_over_victims(success, unit=100), bootstrap_mean(success.mean(0), unit=100)
    assert whole.value == pytest.approx(by_image.value)
    assert (whole.low, whole.high) == pytest.approx((by_image.low, by_image.high))


def test_every_victim_weighs_the_same_and_uncounted_images_nothing() -> None:
    success = np.array([[1, 0, 0, 0], [1, 1, 1, 1]], dtype=bool)
    counted = np.array([[1, 1, 0, 0], [1, 1, 1, 1]], dtype=bool)
    assert mean_over_victims(success, counted).value == pytest.approx((1 / 2 + 1) / 2)
    success[0, 2:] = True
    assert mean_over_victims(success, counted).value == pytest.approx((1 / 2 + 1) / 2)


def test_draws_repeat_and_are_of_n_images_each() -> None:
    counts = resample_counts(30, 50, seed=4)
    assert counts.shape == (50, 30)
    assert (counts.sum(1) == 30).all()
    assert np.array_equal(counts, resample_counts(30, 50, seed=4))
    assert not np.array_equal(counts, resample_counts(30, 50, seed=5))
    with pytest.raises(ValueError, match="read-only"):
        counts[0, 0] = 1


def test_one_victims_interval_is_about_wilsons() -> None:
    success = np.random.default_rng(6).random((1, 500)) < 0.4
    found = mean_over_victims(success, resamples=20_000)
    assert (found.low, found.high) == pytest.approx(proportion_confint(success.sum(), 500, method="wilson"), abs=0.005)


def test_images_that_are_drawn_together_give_the_interval_of_images_drawn_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    success, counted = answers(np.random.default_rng(8), 3, 600, alike=0.6), np.random.default_rng(9).random((3, 600))
    alone = mean_over_victims(success, counted < 0.8, resamples=20_000)
    values = success.mean(0)
    mean = bootstrap_mean(values, resamples=20_000)
    monkeypatch.setattr("linbp.evaluation.statistics.bootstrap.MANY", 100)
    for found, wanted in (
        (mean_over_victims(success, counted < 0.8, resamples=20_000), alone),
        (bootstrap_mean(values, resamples=20_000), mean),
    ):
        assert found.value == pytest.approx(wanted.value)
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=0.0015)
        assert found != wanted
