"""One victim's records in numbers: rates, each with its n and its 95% interval, and distances."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from linbp.evaluation.records import Record
from linbp.evaluation.statistics.rates import Rate, rate

__all__ = ["Statistics", "summarise"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Statistics:
    """A victim's records in numbers.

    Attributes:
        images: how many images.
        right_on_clean: how many of them the victim had right when they were clean.
        fooled: of those, how many adversarial images it has wrong (untargeted success).
        hit: of those whose target is another class than the label, how many it takes for the target; None if the attack
            was untargeted.
        wrong: of all images, on how many adversarial images it is wrong: 1 - accuracy, which the paper prints.
        wrong_on_clean: of all images, on how many clean ones it is wrong.
        linf_mean: mean over images of the largest difference, in levels.
        linf_max: largest of them.
        l2_mean: mean over images of the Euclidean norm, with images in [0, 1].
    """

    images: int
    right_on_clean: int
    fooled: Rate
    hit: Rate | None
    wrong: Rate
    wrong_on_clean: Rate
    linf_mean: float
    linf_max: int
    l2_mean: float

    @property
    def success(self) -> Rate:
        """What the attack tried: `hit` if it was targeted, else `fooled`."""
        return self.hit if self.hit is not None else self.fooled

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, for JSON."""
        return {**dataclasses.asdict(self), "success": dataclasses.asdict(self.success)}


def summarise(records: Sequence[Record]) -> Statistics:
    """The statistics of at least one record."""
    known = [record for record in records if record.right_on_clean]
    targeted = any(record.target is not None for record in records)
    can_hit = [record for record in records if record.can_hit]
    return Statistics(
        images=len(records),
        right_on_clean=len(known),
        fooled=rate(sum(record.fooled for record in known), len(known)),
        hit=rate(sum(record.hit for record in can_hit), len(can_hit)) if targeted else None,
        wrong=rate(sum(record.adv_prediction != record.label for record in records), len(records)),
        wrong_on_clean=rate(len(records) - len(known), len(records)),
        linf_mean=sum(record.linf for record in records) / len(records),
        linf_max=max(record.linf for record in records),
        l2_mean=sum(record.l2 for record in records) / len(records),
    )
