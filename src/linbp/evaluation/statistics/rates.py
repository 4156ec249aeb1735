"""A share with its interval: Wilson's score interval, and one that is too high to compare attacks by."""

from __future__ import annotations

import dataclasses

__all__ = ["SATURATED", "Rate", "rate"]

SATURATED = 0.95
"""A success rate above this one does not tell attacks apart: most of what could differ is already a success."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rate:
    """A share of successes with Wilson's 95% score interval (Wilson 1927).

    With n = 0 nothing is known: `value` is None and the interval is all of [0, 1].
    """

    successes: int
    n: int
    value: float | None
    low: float
    high: float

    @property
    def saturated(self) -> bool:
        """Whether the share lies above `SATURATED`."""
        return self.value is not None and self.value > SATURATED


def rate(successes: int, n: int, confidence: float = 0.95) -> Rate:
    """The share `successes / n` and its interval

        (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).

    Args:
        successes: 0 to n.
        n: number of trials.
        confidence: of the two-sided interval.
    """
    if n == 0:
        return Rate(successes=0, n=0, value=None, low=0.0, high=1.0)
    from scipy.stats import binomtest  # type: ignore[import-untyped]  # a second that nothing else needs

    interval = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return Rate(successes=successes, n=n, value=successes / n, low=float(interval.low), high=float(interval.high))
