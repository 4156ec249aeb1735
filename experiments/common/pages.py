"""What the scripts that write tables into pages have in common."""

from __future__ import annotations

import numpy as np
from scipy.stats import permutation_test
from statsmodels.stats.multitest import multipletests

__all__ = ["between", "difference", "holm"]

REDRAWN = 2000


def between(page: str, name: str, text: list[str]) -> str:
    """A page whose lines between `<!-- NAME: begin -->` and `<!-- NAME: end -->` are these."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return before + begin + "\n\n" + "\n".join(text) + "\n" + end + after


def difference(gaps: np.ndarray) -> tuple[str, float]:
    """A difference that is a sum over photographs, with its 95% interval, and p of the paired permutation test.

    The interval comes from photographs drawn again, p from changing the signs of the photographs' parts at random.
    """
    found = permutation_test(
        (gaps,), np.sum, permutation_type="samples", n_resamples=99_999, vectorized=True, batch=5000, rng=0
    )
    times = np.random.default_rng(0).multinomial(len(gaps), np.full(len(gaps), 1 / len(gaps)), REDRAWN)
    low, high = np.percentile(times @ gaps, [2.5, 97.5])
    return f"{gaps.sum():+.0f} <small>{low:+.0f} to {high:+.0f}</small>", float(found.pvalue)


def holm(chances: list[float]) -> list[float]:
    """p values corrected for their number by Holm's method (1979)."""
    return [float(one) for one in multipletests(chances, method="holm")[1]]
