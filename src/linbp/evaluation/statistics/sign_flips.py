"""p of the paired permutation test, of one comparison or of many that share their images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["sign_flip_p"]

MOST_SUMS = 200_000
"""The null distribution is computed exactly where so many sums have to be looked at, at most."""

DIGITS = 10
"""Differences and sums that agree in so many decimals are one: they differ by rounding only."""

BLOCK = 4_000_000
"""How many signs are held at a time."""

Floats = npt.NDArray[np.float64]


def sign_flip_p(values: npt.ArrayLike, *, flips: int = 9_999, seed: int = 0) -> Floats:
    """Two-sided p of "every image's difference could as well have the other sign" (Fisher 1935).

        p = P(|sum of the differences with random signs| >= |sum of the differences|)

    It is exact where differences have few different sizes. Of k images whose differences have the size a, B ~
    Binomial(k, 1/2) stay positive and add a (2 B - k); for one victim that is McNemar's exact test. Else signs are
    drawn, the same for all comparisons.

    Args:
        values: (comparisons, images) differences, such as those of `difference_by_image`.
        flips: how many times signs are drawn; the observed ones are counted among them.
        seed: of the draws.

    Returns:
        (comparisons,) p.
    """
    rows = np.atleast_2d(np.asarray(values, dtype=np.float64)).round(DIGITS)
    exact = [_exact(row) for row in rows]
    drawn = [number for number, p in enumerate(exact) if p is None]
    found = np.array([np.nan if p is None else p for p in exact])
    if drawn:
        found[drawn] = _drawn(rows[drawn], flips, seed)
    return found


def _exact(row: Floats) -> float | None:
    """p over all signs, or None where there are too many different sums."""
    from scipy.stats import binom  # type: ignore[import-untyped]  # a second that nothing else needs

    sizes, counts = np.unique(np.abs(row[row != 0]), return_counts=True)
    sums, chances = np.zeros(1), np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        if len(sums) * (count + 1) > MOST_SUMS:
            return None
        stay = np.arange(count + 1)
        every = (sums[:, None] + size * (2 * stay - count)).ravel().round(DIGITS)
        weights = (chances[:, None] * binom.pmf(stay, count, 0.5)).ravel()
        sums, place = np.unique(every, return_inverse=True)
        chances = np.bincount(place, weights).astype(np.float64)
    return min(1.0, float(chances[np.abs(sums) >= _least(row)].sum()))


def _drawn(rows: Floats, flips: int, seed: int) -> Floats:
    """p over signs that are drawn, the given ones among them."""
    rows = rows[:, (rows != 0).any(axis=0)]
    images, draw = rows.shape[1], np.random.default_rng(seed)
    beyond: Floats = np.ones(len(rows))
    least: Floats = np.array([_least(row) for row in rows])
    size = max(1, BLOCK // images)
    for at in range(0, flips, size):
        wanted = min(size, flips - at)
        bits = np.unpackbits(np.frombuffer(draw.bytes(wanted * ((images + 7) // 8)), np.uint8).reshape(wanted, -1), 1)
        signs = 1 - 2 * bits[:, :images].astype(np.float64)
        extreme: Floats = np.abs(signs @ rows.T)
        beyond += np.count_nonzero(extreme >= least, axis=0)
    p: Floats = beyond / (flips + 1)
    return p


def _least(row: Floats) -> float:
    """The size from which a sum is as extreme as the observed one, which may be off by rounding."""
    return abs(float(row.sum())) - len(row) * 10.0**-DIGITS
