"""The worst case over attacks, image by image, and what it is made of: classes and images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from linbp.evaluation.statistics.bootstrap import Interval, mean_over_victims
from linbp.evaluation.statistics.outcomes import SUCCEEDED, UNKNOWN, Outcomes
from linbp.evaluation.statistics.rates import Rate, rate

__all__ = ["ClassRate", "ImageCount", "WorstCase", "count_images", "rate_classes", "worst_cases"]

Bools = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorstCase:
    """All attacks of one norm and radius together: an image counts as fooled if any of them fools the victim.

    Attributes:
        norm, eps: of the attacks.
        attacks: how many.
        gradients: of all of them together, per image: what the worst case costs.
        rates: one a victim, in the table's order; None where no attack counts that is no white box for it.
        mean: over these victims, with a bootstrap over images; None without any.
    """

    norm: str
    eps: float
    attacks: int
    gradients: int
    rates: tuple[Rate | None, ...]
    mean: Interval | None


def worst_cases(outcomes: Outcomes) -> tuple[WorstCase, ...]:
    """One for each norm and radius of the table, in its order."""
    groups: dict[tuple[str, float], list[int]] = {}
    for number, attack in enumerate(outcomes.attacks):
        groups.setdefault((attack.norm, attack.eps), []).append(number)
    found = []
    for (norm, eps), numbers in groups.items():
        success, counted = _together(outcomes, numbers)
        asked: Bools = np.any(counted, axis=1)
        rates = [rate(int(row.sum()), int(known.sum())) for row, known in zip(success, counted, strict=True)]
        found.append(
            WorstCase(
                norm=norm,
                eps=eps,
                attacks=len(numbers),
                gradients=sum(outcomes.attacks[number].gradients for number in numbers),
                rates=tuple(one if known else None for one, known in zip(rates, asked, strict=True)),
                mean=mean_over_victims(success[asked], counted[asked]) if asked.any() else None,
            )
        )
    return tuple(found)


def _together(outcomes: Outcomes, numbers: Sequence[int]) -> tuple[Bools, Bools]:
    """(victims, images) whether any of the attacks succeeds, and whether any is counted; without white boxes."""
    success, counted = (np.zeros(outcomes.shape[1:], dtype=bool) for _ in range(2))
    for number in numbers:
        answers = outcomes.answers(number)
        answers[outcomes.white_box[number]] = UNKNOWN
        success |= answers == SUCCEEDED
        counted |= answers != UNKNOWN
    return success, counted


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageCount:
    """One image under one attack.

    Attributes:
        image: its number in the table.
        counted: how many victims count it, white boxes left out.
        fooled: how many of them the attack fools.
        by_any: how many of them any attack of the same norm and radius fools.
    """

    image: int
    counted: int
    fooled: int
    by_any: int


def count_images(outcomes: Outcomes, attack: int) -> tuple[ImageCount, ...]:
    """One for each image that any victim counts, in the table's order.

    Args:
        outcomes: the table.
        attack: the number of an attack.
    """
    chosen = outcomes.attacks[attack]
    alike = [number for number, one in enumerate(outcomes.attacks) if (one.norm, one.eps) == (chosen.norm, chosen.eps)]
    by_any, _ = _together(outcomes, alike)
    success, counted = _together(outcomes, [attack])
    columns = counted.sum(axis=0), success.sum(axis=0), (by_any & counted).sum(axis=0)
    return tuple(
        ImageCount(image=image, counted=known, fooled=fooled, by_any=any_)
        for image, (known, fooled, any_) in enumerate(zip(*(column.tolist() for column in columns), strict=True))
        if known
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassRate:
    """The images of one class under one attack.

    Attributes:
        label: the class.
        rate: the share of its images that fool at least one of the victims that count them.
        share: mean over its images of the share of these victims that they fool.
    """

    label: int
    rate: Rate
    share: float


def rate_classes(outcomes: Outcomes, counts: Sequence[ImageCount]) -> tuple[ClassRate, ...]:
    """One for each class, the most fragile first.

    Args:
        outcomes: the table.
        counts: its images under one attack.
    """
    by_label: dict[int, list[ImageCount]] = {}
    for one in counts:
        by_label.setdefault(int(outcomes.labels[one.image]), []).append(one)
    found = [
        ClassRate(
            label=label,
            rate=rate(sum(one.fooled > 0 for one in members), len(members)),
            share=sum(one.fooled / one.counted for one in members) / len(members),
        )
        for label, members in by_label.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.share, -one.rate.n, one.label)))
