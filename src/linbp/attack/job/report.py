"""What a job did, and what its records add up to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from linbp.attack.unmoved import unmoved_notes
from linbp.data.unused import Unused

__all__ = ["FolderReport", "result_notes", "summarise"]

FAILS_AT_HOME = 0.1
"""With less success than this on the surrogate itself an attack is suspect."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderReport:
    """What a job did.

    Attributes:
        folder: where the adversarial images lie.
        made: how many adversarial images this run made.
        kept: how many an earlier run had finished.
        unused: what the list and its files hold that this run did not use; `not_used` of the images.
        manifest: the folder's manifest.
        records: one an image, in the list's order.
        list_notes: what should be known of the labels; the first of the manifest's notes.
    """

    folder: Path
    made: int
    kept: int
    unused: tuple[Unused, ...]
    manifest: dict[str, Any]
    records: tuple[dict[str, Any], ...]
    list_notes: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """As `summarise`, of all records."""
        return summarise(self.records, self.manifest["settings"]["targeted"])

    @property
    def notes(self) -> list[str]:
        """What a user should know of these adversarial images, in words; the manifest has them too."""
        return list(self.manifest["notes"])


def summarise(records: Sequence[Mapping[str, Any]], targeted: bool) -> dict[str, Any]:
    """What records add up to: the surrogate's own predictions, and the adversarial images' distances.

    `surrogate_hit` counts adversarial images that it takes for their target, of the `aimed` images whose target is not
    their label, and is None for an untargeted attack; `unchanged` counts adversarial images that are their clean
    images, `zero_gradient` those at which every gradient was zero; `linf_max` is in levels, `l2_mean` on the scale of
    [0, 1].
    """
    right = [record for record in records if record["prediction_clean"] == record["label"]]
    aimed = [record for record in records if record["target"] not in (None, record["label"])]
    hit = sum(record["prediction_adv"] == record["target"] for record in aimed)
    return {
        "images": len(records),
        "surrogate_right_on_clean": len(right),
        "surrogate_fooled": sum(record["prediction_adv"] != record["label"] for record in right),
        "surrogate_hit": hit if targeted else None,
        "aimed": len(aimed),
        "linf_max": max(record["linf"] for record in records),
        "l2_mean": sum(record["l2"] for record in records) / len(records),
        "unchanged": sum(record["linf"] == 0 for record in records),
        "zero_gradient": sum(record.get("zero_gradient", False) for record in records),
    }


def result_notes(records: Sequence[Mapping[str, Any]], targeted: bool) -> list[str]:
    """What a user should know of finished adversarial images: those that did not move, and an attack that fails at
    home."""
    facts = summarise(records, targeted)
    notes = unmoved_notes(facts["images"], facts["zero_gradient"], facts["unchanged"])
    tried, done = (
        (facts["aimed"], facts["surrogate_hit"])
        if targeted
        else (facts["surrogate_right_on_clean"], facts["surrogate_fooled"])
    )
    if done < FAILS_AT_HOME * tried:
        notes.append(
            f"The attack {'reaches its target' if targeted else 'fools the surrogate itself'} on {done} of {tried} "
            "images only: what fails on its own network says little about others. Is the radius wide enough, are there "
            "enough steps, and do gradients reach the image?"
        )
    return notes
