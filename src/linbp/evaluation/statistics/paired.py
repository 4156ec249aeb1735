"""Two attacks on the same images: is the difference real, and is it still real among many such comparisons?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from linbp.evaluation.statistics.bootstrap import Floats, Interval, bootstrap_mean
from linbp.evaluation.statistics.sign_flips import sign_flip_p

__all__ = ["Difference", "difference_by_image", "holm", "mcnemar", "paired_differences", "paired_test"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference(Interval):
    """A difference of two attacks, its interval, and p of the paired permutation test, not corrected."""

    p: float


def difference_by_image(one: npt.ArrayLike, other: npt.ArrayLike, counted: npt.ArrayLike | None = None) -> Floats:
    """For each image its part of the difference between two attacks' means over victims, which is the parts' mean.

        d_i = mean over v of (a_vi - b_vi) c_vi / (mean over j of c_vj)

    Args:
        one, other: (victims, images) whether the victim was fooled.
        counted: of the same shape: whether the victim had the clean image right; default: all are counted. Victims
            without any such image are left out.
    """
    gaps = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    known = np.ones_like(gaps) if counted is None else np.asarray(counted, dtype=np.float64)
    rows = known.any(axis=1)
    if not rows.any():
        return np.zeros(gaps.shape[1])
    gaps, known = gaps[rows], known[rows]
    found: Floats = (gaps * known / known.mean(1, keepdims=True)).mean(0)
    return found


def paired_test(values: npt.ArrayLike, *, unit: float = 1.0, flips: int | None = None, seed: int = 0) -> Difference:
    """A difference that is a mean over images, its 95% bootstrap interval, and p of the paired permutation test.

    If the two attacks were alike, an image's difference could as well have the other sign (Fisher 1935). p is
    two-sided: twice the share of random signs whose mean is as extreme on the side of the difference, the given signs
    included.

    Args:
        values: (images,) such as those of `difference_by_image`.
        unit: what the difference and its interval are multiplied by: 100 for points.
        flips: let scipy draw so many signs, or try all of them where there are fewer. Default: the same test by
            `sign_flip_p`, which is exact more often, and ten times faster.
        seed: of the draws.
    """
    if flips is None:
        return paired_differences([values], unit=unit, seed=seed)[0]
    numbers = np.asarray(values, dtype=np.float64)
    mean = bootstrap_mean(numbers, unit=unit, seed=seed)
    from scipy.stats import permutation_test  # type: ignore[import-untyped]  # a second that nothing else needs

    found = permutation_test(
        (numbers,), np.mean, permutation_type="samples", n_resamples=flips, vectorized=True, batch=2000, rng=seed
    )
    return Difference(**dataclasses.asdict(mean), p=float(found.pvalue))


def paired_differences(values: Sequence[npt.ArrayLike], *, unit: float = 1.0, seed: int = 0) -> list[Difference]:
    """`paired_test` of many comparisons, faster: those of as many images are tested with the same signs.

    Args:
        values: one (images,) a comparison.
        unit, seed: as in `paired_test`.
    """
    rows = [np.asarray(one, dtype=np.float64) for one in values]
    p: dict[int, float] = {}
    for images in {len(row) for row in rows}:
        alike = [number for number, row in enumerate(rows) if len(row) == images]
        p.update(zip(alike, sign_flip_p(np.stack([rows[number] for number in alike]), seed=seed).tolist(), strict=True))
    means = [dataclasses.asdict(bootstrap_mean(row, unit=unit, seed=seed)) for row in rows]
    return [Difference(**mean, p=p[number]) for number, mean in enumerate(means)]


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number by Holm's method (1979), which bounds the chance of any false discovery.

    The k-th smallest of m is multiplied by m - k + 1, cut off at 1, and never smaller than the one before.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return [float(one) for one in corrected]


def mcnemar(one: npt.ArrayLike, other: npt.ArrayLike) -> tuple[int, int, float]:
    """How many images only one attack succeeds on, how many only the other, and p of McNemar's exact test (1947).

    For one victim: over several it takes one image's victims for independent, and p comes out too small.

    Args:
        one, other: of one shape, success or not.
    """
    first, second = np.asarray(one, dtype=bool), np.asarray(other, dtype=bool)
    only_one, only_other = int((first & ~second).sum()), int((second & ~first).sum())
    if only_one + only_other == 0:
        return 0, 0, 1.0
    from scipy.stats import binomtest

    return only_one, only_other, float(binomtest(only_one, only_one + only_other).pvalue)
