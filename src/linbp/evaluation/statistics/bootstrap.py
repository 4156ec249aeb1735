"""Intervals from images drawn again: the victims' answers to one image are not independent, so an image stays whole."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import numpy.typing as npt

__all__ = ["Interval", "bootstrap_mean", "mean_over_victims", "resample_counts"]

RESAMPLES = 2000
"""How many times the images are drawn again."""

MANY = 2000
"""Of more images than that, those with the same answers are drawn together: the same distribution, in less memory."""

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure and its two-sided interval."""

    value: float
    low: float
    high: float


@lru_cache(maxsize=8)
def resample_counts(n: int, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """How often each of n images is drawn when n are drawn with replacement: (resamples, n), read-only.

    The counts depend on the three arguments alone, so that all figures about the same images use the same draws.
    """
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples).astype(np.float64)
    counts.flags.writeable = False
    return counts


def bootstrap_mean(
    values: npt.ArrayLike,
    confidence: float = 0.95,
    *,
    unit: float = 1.0,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """A mean over images with the percentile interval of the bootstrap (Efron 1979).

    Args:
        values: (images,) one number an image, such as the share of the victims that it fools.
        confidence: of the interval.
        unit: what all three figures are multiplied by: 100 for per cent.
        resamples: how many times the images are drawn again.
        seed: of the draws.
    """
    numbers = np.asarray(values, dtype=np.float64)
    columns, counts = _drawn(numbers[None], resamples, seed)
    low, high = _percentiles(unit * counts @ columns[0] / len(numbers), confidence)
    return Interval(value=unit * float(numbers.mean()), low=low, high=high)


def mean_over_victims(
    success: npt.ArrayLike,
    counted: npt.ArrayLike | None = None,
    confidence: float = 0.95,
    *,
    unit: float = 1.0,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The mean over victims of their success rates, with the percentile interval of a bootstrap over images.

        mean over v of (sum_i w_i c_vi s_vi) / (sum_i w_i c_vi),

    where w_i is how often image i was drawn. Pooling the pairs of image and victim would take them for independent and
    give too narrow an interval: an adversarial image that fools one victim is likelier to fool the next.

    Args:
        success: (victims, images) whether the victim was fooled.
        counted: of the same shape: whether the victim had the clean image right; default: all are counted.
        confidence: of the interval.
        unit: what all three figures are multiplied by: 100 for per cent.
        resamples: how many times the images are drawn again; a victim without a counted image then adds 0.
        seed: of the draws.
    """
    wins = np.asarray(success, dtype=np.float64)
    known = np.ones_like(wins) if counted is None else np.asarray(counted, dtype=np.float64)
    wins = wins * known
    columns, counts = _drawn(np.concatenate([wins, known]), resamples, seed)
    sums = columns @ counts.T
    means = unit * (sums[: len(wins)] / np.maximum(1, sums[len(wins) :])).mean(0)
    low, high = _percentiles(means, confidence)
    return Interval(value=unit * float((wins.sum(1) / np.maximum(1, known.sum(1))).mean()), low=low, high=high)


def _drawn(columns: Floats, resamples: int, seed: int) -> tuple[Floats, Floats]:
    """Columns of numbers, one an image, and how often each is drawn: (resamples, columns).

    Images with the same numbers are interchangeable. Where there are many images, each such group is one column, drawn
    as often as its images would be together.
    """
    n = columns.shape[1]
    if n <= MANY:
        return columns, resample_counts(n, resamples, seed)
    different, sizes = np.unique(columns, axis=1, return_counts=True)
    return different, np.random.default_rng(seed).multinomial(n, sizes / n, resamples).astype(np.float64)


def _percentiles(values: Floats, confidence: float) -> tuple[float, float]:
    rest = 50 * (1 - confidence)
    low, high = np.percentile(values, [rest, 100 - rest])
    return float(low), float(high)
