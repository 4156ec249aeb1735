"""Figures as readers write them."""

from __future__ import annotations

from linbp.evaluation.statistics import Comparison, Interval, Rate

__all__ = ["chance", "counted", "interval", "percent", "points", "rate_words"]


NARROW = 0.02
"""Two points: whole per cent would say little about an interval that is narrower."""


def percent(value: float | None) -> str:
    """A share as whole per cent, and with a digit more near the ends, where it matters: `63%`, `0.4%`, `99.5%`."""
    if value is None:
        return "none counted"
    digits = 1 if 0 < value < 0.01 or 0.99 < value < 1 else 0
    return f"{100 * value:.{digits}f}".removesuffix(".0") + "%"


def interval(low: float, high: float) -> str:
    """An interval of shares in per cent: `57 to 69`; a narrow one with a digit more: `42.9 to 43.2`."""
    if high - low < NARROW:
        return f"{100 * low:.1f} to {100 * high:.1f}"
    return f"{percent(low)[:-1]} to {percent(high)[:-1]}"


def rate_words(rate: Rate | None) -> str:
    """A rate with its interval and its counts: `63% (57 to 69), 126 of 200`."""
    if rate is None:
        return "not asked"
    if rate.value is None:
        return "none counted"
    return f"{percent(rate.value)} ({interval(rate.low, rate.high)}), {rate.successes} of {rate.n}"


def points(difference: Interval) -> str:
    """A difference in points with its interval: `+12 (8 to 16)`."""
    return f"{difference.value:+.1f} ({difference.low:.1f} to {difference.high:.1f})"


def chance(p: float) -> str:
    """A p value: `< 0.001`, `0.012`, `0.4`."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}" if p < 1 else "1"


def counted(number: int, what: str) -> str:
    """A number of things: `1 image`, `2,000 images`."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def verdict(comparison: Comparison) -> str:
    """What a comparison says, for those who read no p values."""
    if comparison.adjusted > 0.05:
        return "not told apart"
    return "better"
