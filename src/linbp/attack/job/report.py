"""What a job did, and what its records add up to."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

__all__ = ["FolderReport"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderReport:
    """What a job did.

    Attributes:
        folder: where the adversarial images lie.
        made: how many adversarial images this run made.
        kept: how many an earlier run had finished.
        manifest: the folder's manifest.
        records: one an image, in the list's order.
    """

    folder: Path
    made: int
    kept: int
    manifest: dict[str, Any]
    records: tuple[dict[str, Any], ...]

    def summary(self) -> dict[str, Any]:
        """What the records add up to: the surrogate's own predictions, and the adversarial images' distances.

        `surrogate_hit` counts adversarial images that it takes for their target, of the `aimed` images whose target is
        not their label, and is None for an untargeted attack; `unchanged` counts adversarial images that are their
        clean images; `linf_max` is in levels, `l2_mean` on the scale of [0, 1].
        """
        right = [record for record in self.records if record["prediction_clean"] == record["label"]]
        aimed = [record for record in self.records if record["target"] not in (None, record["label"])]
        hit = sum(record["prediction_adv"] == record["target"] for record in aimed)
        return {
            "images": len(self.records),
            "surrogate_right_on_clean": len(right),
            "surrogate_fooled": sum(record["prediction_adv"] != record["label"] for record in right),
            "surrogate_hit": hit if self.manifest["settings"]["targeted"] else None,
            "aimed": len(aimed),
            "linf_max": max(record["linf"] for record in self.records),
            "l2_mean": sum(record["l2"] for record in self.records) / len(self.records),
            "unchanged": sum(record["linf"] == 0 for record in self.records),
        }
