"""The audited model beside others: reference networks of the same run, and a model that was audited before."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from linbp.audit.answers import VictimOutcomes
from linbp.audit.record import AuditRecord, read_record
from linbp.audit.result import Baseline, Change, Reference
from linbp.bench.results_at import results_at
from linbp.bench.store import Store
from linbp.errors import StoreError
from linbp.evaluation.statistics import Outcomes, holm, paired_differences, rate

__all__ = ["check_comparable", "compare_with_baseline", "compare_with_references", "open_baseline"]

SAME_SUITE = "Audit both with the same suite, surrogates, radii, steps and seed, and with the same version of linbp."

Bools = npt.NDArray[np.bool_]


def compare_with_references(mine: VictimOutcomes, numbers: Sequence[int]) -> tuple[Reference, ...]:
    """Every other victim of the table against the audited model, on images that both have right, paired by image.

    Only attacks count that were made on neither of the two: a network's own surrogate is the strongest of all.

    Args:
        mine: the audited model.
        numbers: the attacks of one radius.
    """
    table = mine.table
    found: list[dict[str, Any]] = []
    parts: list[npt.NDArray[np.float64]] = []
    for other, name in enumerate(table.victims):
        if other == mine.number:
            continue
        theirs = VictimOutcomes(table, name)
        white = np.any(table.white_box[:, [mine.number, other]], axis=1)
        shared = [one for one in numbers if one in theirs.numbers and not white[one]]
        both = mine.counted & theirs.counted
        if not shared or not both.any():
            continue
        one, two = mine.fooled(shared)[both], theirs.fooled(shared)[both]
        parts.append(one.astype(np.float64) - two)
        found.append(
            {
                "name": name,
                "clean": theirs.clean,
                "attacks": len(shared),
                "exposure": rate(int(two.sum()), len(two)),
                "victim": rate(int(one.sum()), len(one)),
            }
        )
    tests = paired_differences(parts, unit=100)
    adjusted = holm([test.p for test in tests])
    made = [Reference(**one, difference=test, adjusted=p) for one, test, p in zip(found, tests, adjusted, strict=True)]
    return tuple(sorted(made, key=lambda one: -(one.exposure.value or 0)))


def open_baseline(place: str | os.PathLike[str]) -> tuple[AuditRecord, VictimOutcomes]:
    """Another audit: what it was asked, and its model's column.

    Raises:
        StoreError: there is none.
    """
    text = os.fspath(place)
    store: Store
    store, table = results_at(text)
    record = read_record(store, text)
    return record, VictimOutcomes(Outcomes(table), record.victim)


def check_comparable(
    place: str, record: AuditRecord, before: VictimOutcomes, images: Mapping[str, str], attack_keys: Collection[str]
) -> None:
    """Refuse a baseline that nothing can be compared with, before anything is attacked.

    Args:
        place: of the baseline.
        record, before: of the baseline.
        images: hashes of the images of now, by name.
        attack_keys: of the attacks of now.

    Raises:
        StoreError: its images or its attacks are others.
    """
    _check_same_images(place, record, images)
    if not any(before.attack(number).attack_key in attack_keys for number in before.numbers):
        raise StoreError(f"The baseline {place} has no attack in common with this audit.", SAME_SUITE)


def _check_same_images(place: str, record: AuditRecord, images: Mapping[str, str]) -> None:
    shared = [name for name in images if name in record.images]
    hint = "Audit both models on the same --data; a baseline is compared image by image."
    if not shared:
        raise StoreError(f"The baseline {place} was made on other images: none has the name of one of these.", hint)
    other = next((name for name in shared if images[name] != record.images[name]), None)
    if other is not None:
        raise StoreError(f"The baseline {place} was made on other images: {other!r} has other pixels there.", hint)


def compare_with_baseline(
    place: str, record: AuditRecord, before: VictimOutcomes, after: VictimOutcomes, images: Mapping[str, str]
) -> Baseline:
    """What changed since another audit, paired by image, under the attacks that both have.

    Args:
        place: of the other audit.
        record, before: of the other audit.
        after: of this one.
        images: hashes of this one's images, by name.

    Raises:
        StoreError: the other one has other images or labels, or no attack in common with this one.
    """
    _check_same_images(place, record, images)
    rows = _shared_rows(place, before.table, after.table)
    found: list[dict[str, Any]] = []
    parts: list[npt.NDArray[np.float64]] = []
    for eps, numbers in after.by_radius.items():
        keys = {before.attack(one).attack_key: one for one in before.by_radius.get(eps, ())}
        pairs = [(keys[key], one) for one in numbers if (key := after.attack(one).attack_key) in keys]
        both = before.counted[rows[0]] & after.counted[rows[1]]
        if not pairs or not both.any():
            continue
        old = before.fooled([one for one, _ in pairs])[rows[0]][both]
        new = after.fooled([one for _, one in pairs])[rows[1]][both]
        parts.append(new.astype(np.float64) - old)
        found.append(
            {
                "eps": eps,
                "eps_text": after.attack(numbers[0]).eps_text,
                "before": rate(int(old.sum()), len(old)),
                "after": rate(int(new.sum()), len(new)),
                "attacks": len(pairs),
                "won": int((old & ~new).sum()),
                "lost": int((new & ~old).sum()),
            }
        )
    if not found:
        raise StoreError(
            f"The baseline {place} has no attack in common with this audit, or no image that both models have right.",
            SAME_SUITE,
        )
    tests = paired_differences(parts, unit=100)
    adjusted = holm([test.p for test in tests])
    changes = tuple(
        Change(**one, difference=test, adjusted=p) for one, test, p in zip(found, tests, adjusted, strict=True)
    )
    return Baseline(run=place, victim=record.victim, sha256=record.sha256, clean=before.clean, changes=changes)


def _shared_rows(place: str, before: Outcomes, after: Outcomes) -> tuple[list[int], list[int]]:
    places = {name: row for row, name in enumerate(before.images)}
    new = [row for row, name in enumerate(after.images) if name in places]
    old = [places[after.images[row]] for row in new]
    wrong = np.flatnonzero(before.labels[old] != after.labels[new])
    if len(wrong):
        name = after.images[new[int(wrong[0])]]
        raise StoreError(
            f"The baseline {place} has another label for image {name!r}.", "Audit both models on the same --data."
        )
    return old, new
