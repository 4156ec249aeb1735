"""Two tables of results, paired by image: two attacks, or two versions of a victim."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from linbp.errors import StoreError
from linbp.evaluation.statistics.outcomes import SUCCEEDED, UNKNOWN, Attack, Outcomes
from linbp.evaluation.statistics.paired import Difference, difference_by_image, holm, paired_differences
from linbp.evaluation.statistics.rates import Rate, rate

__all__ = ["Pair", "compare_tables"]

Bools = npt.NDArray[np.bool_]

ALIKE: tuple[Callable[[Attack], Any], ...] = (
    lambda one: (one.surrogate, one.recipe, one.norm, one.eps, one.gradients, one.seed),
    lambda one: (one.surrogate, one.recipe, one.norm, one.eps, one.seed),
    lambda one: (one.surrogate, one.norm, one.eps, one.seed),
    lambda one: (one.norm, one.eps),
    lambda one: (),
)
"""What two attacks have in common, from the most to nothing: the first that pairs them up is taken."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """One attack and victim of each table, on the images that both count.

    Attributes:
        one, other: the attacks.
        victim, other_victim: the victims' names; for a mean over victims, both are empty.
        images: how many images both count; for a mean, that any victim counts in both.
        rates: of the two on these images; None for a mean.
        difference: the second less the first, in points, with its interval and p: exact for one victim.
        adjusted: p corrected by Holm's method for all pairs of single victims, or for all means.
        won, lost: the images on which only the second, and only the first, succeeds; empty for a mean.
    """

    one: Attack
    other: Attack
    victim: str
    other_victim: str
    images: int
    rates: tuple[Rate, Rate] | None
    difference: Difference
    adjusted: float
    won: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def compare_tables(first: Outcomes, second: Outcomes) -> tuple[Pair, ...]:
    """Every attack and victim of one table with its like in the other; at the end the means over several victims.

    Attacks are paired by what they have in common, victims by name; where nothing is in common, and each table has one,
    these two. Images are paired by name.

    Raises:
        StoreError: they have no images in common, an image has two labels, or it is not clear what belongs together.
    """
    rows = _same_images(first, second)
    attacks = _attack_pairs(first, second)
    victims = _victim_pairs(first, second)
    singles: list[dict[str, Any]] = []
    means: list[dict[str, Any]] = []
    for one, other in attacks:
        answers = (first.answers(one)[:, rows[0]], second.answers(other)[:, rows[1]])
        mine = []
        for victim, other_victim in victims:
            before, after = answers[0][victim], answers[1][other_victim]
            both = (before != UNKNOWN) & (after != UNKNOWN)
            if both.any():
                mine.append((victim, other_victim, before == SUCCEEDED, after == SUCCEEDED, both))
        facts = {"one": first.attacks[one], "other": second.attacks[other]}
        for victim, other_victim, before, after, both in mine:
            names = {"victim": first.victims[victim], "other_victim": second.victims[other_victim]}
            singles.append({**facts, **names, **_single(before, after, both, [first.images[row] for row in rows[0]])})
        if len(mine) > 1:
            before, after, both = (np.stack([row[part] for row in mine]) for part in (2, 3, 4))
            seen: Bools = np.any(both, axis=0)
            parts = difference_by_image(after[:, seen], before[:, seen], both[:, seen])
            means.append(
                {**facts, "victim": "", "other_victim": "", "images": len(parts), "rates": None, "parts": parts}
            )
    if not singles:
        raise StoreError(
            "No victim has any of the images in common right in both.", "Compare runs that count the same images."
        )
    return tuple(_tested(singles) + _tested(means))


def _single(before: Bools, after: Bools, both: Bools, names: Sequence[str]) -> dict[str, Any]:
    """One victim of each side."""
    n, won, lost = int(both.sum()), both & after & ~before, both & before & ~after
    return {
        "images": n,
        "rates": (rate(int((before & both).sum()), n), rate(int((after & both).sum()), n)),
        "won": tuple(names[row] for row in np.flatnonzero(won).tolist()),
        "lost": tuple(names[row] for row in np.flatnonzero(lost).tolist()),
        "parts": (after.astype(np.float64) - before)[both],
    }


def _tested(found: Sequence[dict[str, Any]]) -> list[Pair]:
    tests = paired_differences([one.pop("parts") for one in found], unit=100)
    adjusted = holm([test.p for test in tests])
    return [Pair(**one, difference=test, adjusted=p) for one, test, p in zip(found, tests, adjusted, strict=True)]


def _same_images(first: Outcomes, second: Outcomes) -> tuple[list[int], list[int]]:
    """The numbers of the images that both have, in both."""
    places = {name: row for row, name in enumerate(second.images)}
    rows = [row for row, name in enumerate(first.images) if name in places]
    others = [places[first.images[row]] for row in rows]
    if not rows:
        raise StoreError(
            f"They have no images in common: the first has {first.images[0]!r} and others, the second "
            f"{second.images[0]!r} and others.",
            "Compare what was made from one list of images.",
        )
    wrong = np.flatnonzero(first.labels[rows] != second.labels[others])
    if len(wrong):
        row = int(wrong[0])
        raise StoreError(
            f"Image {first.images[rows[row]]!r} has label {first.labels[rows[row]]} in the first and "
            f"{second.labels[others[row]]} in the second.",
            "They are of different lists of images, which cannot be paired.",
        )
    return rows, others


def _attack_pairs(first: Outcomes, second: Outcomes) -> list[tuple[int, int]]:
    for alike in ALIKE:
        keys = [[alike(attack) for attack in side.attacks] for side in (first, second)]
        places = {key: number for number, key in enumerate(keys[1])}
        pairs = [(number, places[key]) for number, key in enumerate(keys[0]) if key in places]
        shared = {keys[0][number] for number, _ in pairs}
        unclear = any(side.count(key) > 1 for side in keys for key in shared)
        if pairs and not unclear:
            return pairs
    raise StoreError(
        f"It is not clear which of the {len(first.attacks)} attacks of the first belongs to which of the "
        f"{len(second.attacks)} of the second.",
        "Compare runs that share recipes, or that have one recipe each; within one run, linbp report compares recipes.",
    )


def _victim_pairs(first: Outcomes, second: Outcomes) -> list[tuple[int, int]]:
    pairs = [
        (first.victims.index(name), second.victims.index(name)) for name in first.victims if name in second.victims
    ]
    if pairs:
        return pairs
    if len(first.victims) == len(second.victims) == 1:
        return [(0, 0)]
    raise StoreError(
        f"They have no victim in common: {', '.join(first.victims)}; and {', '.join(second.victims)}.",
        "Give both the same victims, or one each, which are then compared as two versions.",
    )
