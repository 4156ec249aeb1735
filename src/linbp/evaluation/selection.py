"""The images that every victim has right: one denominator for all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from linbp.evaluation.result import Evaluation
from linbp.evaluation.statistics import Rate, rate

__all__ = ["Select", "Selection", "select_every_victim"]

Select = Literal["none", "every-victim"]
"""Which success is counted besides each victim's own: none, or that over the images which every victim has right."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """Success over the images that every victim of an evaluation is right on when they are clean.

    Attributes:
        image_ids: those images, in the order of the records.
        success: one a victim, in the order of the evaluations: fooled, or for a targeted attack taken for the target,
            over those of the images whose target is not their label.
    """

    image_ids: tuple[str, ...]
    success: tuple[Rate, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "rule": "every-victim",
            "images": len(self.image_ids),
            "image_ids": list(self.image_ids),
            "success": [dataclasses.asdict(one) for one in self.success],
        }


def select_every_victim(evaluations: Sequence[Evaluation]) -> Selection:
    """The selection of evaluations of the same images, in the same order; it may be empty."""
    columns = list(zip(*(evaluation.records for evaluation in evaluations), strict=True))
    known = [row for row, records in enumerate(columns) if all(record.right_on_clean for record in records)]
    rates = []
    for evaluation in evaluations:
        records = [evaluation.records[row] for row in known]
        counted = [record for record in records if record.target is None or record.can_hit]
        wins = [record.fooled if record.target is None else record.hit for record in counted]
        rates.append(rate(sum(wins), len(counted)))
    return Selection(image_ids=tuple(evaluations[0].records[row].image_id for row in known), success=tuple(rates))
