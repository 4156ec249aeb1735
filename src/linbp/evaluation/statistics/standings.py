"""Every attack of a table of results: its rate on each victim, their mean, its distances, and which is better."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from functools import lru_cache

from linbp.evaluation.statistics.bootstrap import Interval, mean_over_victims
from linbp.evaluation.statistics.outcomes import SUCCEEDED, UNKNOWN, Attack, Outcomes
from linbp.evaluation.statistics.paired import Difference, difference_by_image, holm, paired_differences
from linbp.evaluation.statistics.rates import Rate, rate

__all__ = ["Comparison", "Setting", "Standing", "clean_rates", "compare_with_best", "settings_of", "standings"]

cached_rate = lru_cache(maxsize=100_000)(rate)
"""Cells of a large table have few different counts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """How one attack fared.

    Attributes:
        attack: what made the adversarial images.
        rates: one a victim, in the table's order; None where the victim was not asked.
        white_box: for each victim whether it has the attack's weights.
        mean: over the victims that are no white box, with a bootstrap over images; None where there is none.
        images: on how many images it is a mean: those that one of these victims counts.
        linf_mean, linf_max: mean and largest L-inf, in levels of 0 to 255.
        l2_mean: mean L2, with images in [0, 1].
    """

    attack: Attack
    rates: tuple[Rate | None, ...]
    white_box: tuple[bool, ...]
    mean: Interval | None
    images: int
    linf_mean: float
    linf_max: int
    l2_mean: float

    @property
    def saturated(self) -> bool:
        """Whether the rate on every victim that is no white box is too high to tell attacks apart."""
        shown = [one for one, white in zip(self.rates, self.white_box, strict=True) if one is not None and not white]
        return bool(shown) and all(one.saturated for one in shown)


def standings(outcomes: Outcomes) -> tuple[Standing, ...]:
    """One for each attack of the table, in its order."""
    linf, l2 = outcomes.by_attack("linf"), outcomes.by_attack("l2")
    found = []
    for number, attack in enumerate(outcomes.attacks):
        answers = outcomes.answers(number)
        rates = [cached_rate(int((row == SUCCEEDED).sum()), int((row != UNKNOWN).sum())) for row in answers]
        known = outcomes.transferred(number)
        counted = known != UNKNOWN
        found.append(
            Standing(
                attack=attack,
                rates=tuple(one if was else None for one, was in zip(rates, outcomes.asked[number], strict=True)),
                white_box=tuple(outcomes.white_box[number].tolist()),
                mean=mean_over_victims(known == SUCCEEDED, counted) if len(known) else None,
                images=int(counted.any(axis=0).sum()),
                linf_mean=float(linf[number, 0]),
                linf_max=int(linf[number, 1]),
                l2_mean=float(l2[number, 0]),
            )
        )
    return tuple(found)


def clean_rates(outcomes: Outcomes) -> dict[str, Rate]:
    """Each victim's accuracy on the clean images that it was asked about, selected or not."""
    found = {}
    for name, predictions, labels in zip(outcomes.victims, outcomes.clean, outcomes.own_labels, strict=True):
        asked = predictions != -1
        found[name] = cached_rate(int((predictions == labels)[asked].sum()), int(asked.sum()))
    return found


@dataclasses.dataclass(frozen=True, order=True)
class Setting:
    """What two attacks must have in common to be compared: all but the recipe.

    Attributes:
        norm, eps, surrogate, seed: of the attacks.
        budget: 0 for each recipe's cheapest attack of these, 1 for the next one, and so on.
    """

    norm: str
    eps: float
    surrogate: str
    seed: int
    budget: int


def settings_of(outcomes: Outcomes) -> dict[Setting, tuple[int, ...]]:
    """The attacks (their numbers) of each setting, one a recipe."""
    costs: dict[tuple[str, float, str, int, str], list[int]] = defaultdict(list)
    for number, one in enumerate(outcomes.attacks):
        costs[one.norm, one.eps, one.surrogate, one.seed, one.recipe].append(number)
    found: dict[Setting, list[int]] = defaultdict(list)
    for (norm, eps, surrogate, seed, _), numbers in costs.items():
        for budget, number in enumerate(sorted(numbers, key=lambda number: outcomes.attacks[number].gradients)):
            found[Setting(norm, eps, surrogate, seed, budget)].append(number)
    return {setting: tuple(found[setting]) for setting in sorted(found)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two recipes on the same images: `one` is the better.

    Attributes:
        setting: what they have in common.
        one, other: numbers of the attacks.
        images: how many were compared.
        victims: how many.
        difference: of the means over victims, in points, with its interval and p.
        adjusted: p corrected by Holm's method for all comparisons of the table.
    """

    setting: Setting
    one: int
    other: int
    images: int
    victims: int
    difference: Difference
    adjusted: float


def compare_with_best(outcomes: Outcomes, found: tuple[Standing, ...]) -> tuple[Comparison, ...]:
    """The best recipe of each setting against every other one, paired by image.

    The victims are those that are no white box for either; an image counts for a victim where it counts for both.

    Args:
        outcomes: the table.
        found: its standings.
    """
    pairs, parts, sizes = [], [], []
    for setting, numbers in settings_of(outcomes).items():
        shown = [number for number in numbers if found[number].mean is not None]
        best = max(shown, key=lambda number: found[number].mean.value, default=None)  # type: ignore[union-attr]
        for other in shown:
            if best is None or other == best:
                continue
            one, two = outcomes.answers(best), outcomes.answers(other)
            counted = (one != UNKNOWN) & (two != UNKNOWN)
            victims = ~(outcomes.white_box[best] | outcomes.white_box[other]) & counted.any(axis=1)
            images = counted[victims].any(axis=0)
            if not images.any():
                continue
            one, two, counted = (part[victims][:, images] for part in (one, two, counted))
            pairs.append((setting, best, other))
            sizes.append((int(images.sum()), int(victims.sum())))
            parts.append(difference_by_image(one == SUCCEEDED, two == SUCCEEDED, counted))
    tests = paired_differences(parts, unit=100)
    return tuple(
        Comparison(setting=setting, one=one, other=other, images=n, victims=v, difference=test, adjusted=adjusted)
        for (setting, one, other), (n, v), test, adjusted in zip(
            pairs, sizes, tests, holm([test.p for test in tests]), strict=True
        )
    )
