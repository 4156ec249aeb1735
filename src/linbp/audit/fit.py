"""An audit that fits the clock: fewer images first, then fewer steps, and what that costs in certainty."""

from __future__ import annotations

import dataclasses
import math
import re

from linbp.errors import BudgetError
from linbp.evaluation.statistics import rate

__all__ = ["FEWEST", "KEPT", "Fit", "Pace", "fit_time", "keep", "read_duration"]

KEPT = 100
"""So many images are kept before steps are taken away: the interval is then at most 20 points wide."""

FEWEST = 20
"""With fewer images than that an audit says too little to be made."""

UNITS = {"h": 3600, "m": 60, "s": 1}
DURATION = re.compile(r"\s*(?:\d+(?:\.\d+)?\s*[hms]\s*)+")


@dataclasses.dataclass(frozen=True)
class Pace:
    """What an audit takes, as it was measured.

    Attributes:
        images: how many there are.
        steps: of each attack, or gradients where these are counted.
        crafting: seconds for one step of all attacks on one image.
        asking: seconds for all questions about one image.
    """

    images: int
    steps: int
    crafting: float
    asking: float

    def seconds(self, images: int, steps: int) -> float:
        """For so many images and steps."""
        return images * (steps * self.crafting + self.asking)


@dataclasses.dataclass(frozen=True)
class Fit:
    """So many images and steps, and in words what they cost; no words where nothing was taken away."""

    images: int
    steps: int
    words: str


def read_duration(text: str) -> float:
    """Seconds of `15m`, `90s`, `2h` or `1h30m`.

    Raises:
        BudgetError: it is no duration.
    """
    if not DURATION.fullmatch(text):
        raise BudgetError(f"{text!r} is no duration.", "Write --time 15m, 90s, 2h or 1h30m.")
    seconds = sum(float(number) * UNITS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)\s*([hms])", text))
    if seconds <= 0:
        raise BudgetError(f"{text!r} is no time at all.", "Write --time 15m, 90s, 2h or 1h30m.")
    return seconds


def fit_time(pace: Pace, allowed: float, what: str = "steps") -> Fit:
    """As many images as the time allows, and fewer steps where these would be fewer than `KEPT`.

    Args:
        pace: as it was measured.
        allowed: seconds.
        what: the steps are called: `steps` or `gradients`.

    Raises:
        BudgetError: there is not even time for `FEWEST` images with half of the steps.
    """
    kept, half = min(pace.images, KEPT), math.ceil(pace.steps / 2)
    images, steps = min(pace.images, _most(allowed, pace.seconds(1, pace.steps))), pace.steps
    if images < kept:
        steps = min(pace.steps, max(half, _most(allowed / kept - pace.asking, pace.crafting)))
        images = min(kept, _most(allowed, pace.seconds(1, steps)))
    fewest = min(pace.images, FEWEST)
    if images < fewest:
        from linbp.bench.estimate import in_words

        raise BudgetError(
            f"The time is too short: {fewest} images with {half} {what} take about "
            f"{in_words(pace.seconds(fewest, half))}.",
            "Give more time, fewer radii (--eps), or a faster device (--device).",
        )
    return Fit(images, steps, _cost(pace, images, steps, what))


def keep(pace: Pace, images: int, steps: int, what: str = "steps") -> Fit:
    """What an earlier start of the audit was fitted to, which it goes on with."""
    return Fit(min(images, pace.images), min(steps, pace.steps), _cost(pace, images, steps, what))


def _most(allowed: float, each: float) -> int:
    return max(0, int(allowed / each)) if each > 0 else 10**9


def _cost(pace: Pace, images: int, steps: int, what: str) -> str:
    words = []
    if images < pace.images:
        words.append(
            f"{images:,} of {pace.images:,} images: the interval of an exposure of 50% is about {_width(images)} "
            f"points wide instead of {_width(pace.images)}"
        )
    if steps < pace.steps:
        words.append(
            f"{steps} of {pace.steps} {what}: weaker attacks, whose exposure may be too low and must not be compared "
            "with that of a full audit"
        )
    return f"To fit the time: {'; '.join(words)}." if words else ""


def _width(images: int) -> int:
    found = rate(images // 2, images)
    return round(100 * (found.high - found.low))
