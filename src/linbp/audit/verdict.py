"""The verdict: a threshold that was set beforehand against the bound of an interval."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from linbp.attack.budget import parse_radius
from linbp.errors import BudgetError
from linbp.evaluation.statistics import Rate

__all__ = ["RadiusVerdict", "decide", "decisive_radius", "read_thresholds"]

SHARE = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(%?)\s*")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RadiusVerdict:
    """What is decided at one radius.

    Attributes:
        eps, eps_text: the radius.
        exposure: that was measured.
        threshold: the highest exposure that passes; None: nothing is decided.
        strict: whether the interval's upper bound decides, else its lower one.
    """

    eps: float
    eps_text: str
    exposure: Rate
    threshold: float | None
    strict: bool

    @property
    def bound(self) -> float:
        """The bound that is compared with the threshold."""
        return self.exposure.high if self.strict else self.exposure.low

    @property
    def failed(self) -> bool | None:
        """Whether that bound is above the threshold; None without a threshold."""
        return None if self.threshold is None else self.bound > self.threshold

    @property
    def certain(self) -> bool:
        """Whether the whole interval is on one side of the threshold."""
        return self.threshold is not None and not self.exposure.low <= self.threshold < self.exposure.high


def decide(
    exposures: Sequence[tuple[float, str, Rate]], thresholds: Mapping[float, float], strict: bool
) -> tuple[RadiusVerdict, ...]:
    """One verdict for each radius.

    Args:
        exposures: radius, its text, and the exposure there.
        thresholds: by radius.
        strict: fail unless the exposure is shown to be at most the threshold, and not only if it is shown to be above.
    """
    return tuple(
        RadiusVerdict(eps=eps, eps_text=text, exposure=rate, threshold=thresholds.get(eps), strict=strict)
        for eps, text, rate in exposures
    )


def read_thresholds(given: Sequence[str | float], radii: Sequence[str], decisive: str) -> dict[float, float]:
    """Thresholds by radius.

    Args:
        given: each `0.35` or `35%`, at the decisive radius, or `8/255=0.35` at another one.
        radii: those of the audit.
        decisive: of them.

    Raises:
        BudgetError: no share of at most 1, or a radius that the audit does not have.
    """
    known = {parse_radius(text): text for text in radii}
    found: dict[float, float] = {}
    for one in given:
        place, sign, share = str(one).rpartition("=")
        eps = parse_radius(place if sign else decisive, "The radius of --fail-above")
        matched = SHARE.fullmatch(share)
        value = float("nan") if matched is None else float(matched[1]) / (100 if matched[2] else 1)
        if not 0 <= value <= 1:
            raise BudgetError(
                f"The threshold is {share!r}, which is no share.", "Write --fail-above 0.35, or 35%, or 8/255=0.35."
            )
        if eps not in known:
            raise BudgetError(
                f"The threshold is set at eps {place}, which the audit does not try.",
                f"It tries {', '.join(radii)}: choose one of them, or name others with --eps.",
            )
        if eps in found:
            raise BudgetError(f"Two thresholds are set at eps {known[eps]}.", "Leave one of them out.")
        found[eps] = value
    return found


def decisive_radius(radii: Sequence[str], wanted: str) -> str:
    """The radius that a bare threshold is about: the suite's own, or the largest one where that is not tried."""
    by_size = sorted(radii, key=parse_radius)
    return next((text for text in by_size if parse_radius(text) == parse_radius(wanted)), by_size[-1])
