"""One result that every renderer reads: the statistics of a table of results, in the order in which they are told."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from linbp.bench.table import facts_of
from linbp.data.predictions import class_words
from linbp.evaluation.statistics import (
    Attack,
    ClassRate,
    Comparison,
    ImageCount,
    Outcomes,
    Rate,
    Standing,
    WorstCase,
    clean_rates,
    compare_with_best,
    count_images,
    distinct,
    rate_classes,
    standings,
    worst_cases,
)

__all__ = ["Flag", "Headline", "Network", "Report", "report_of"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """A victim or a surrogate.

    Attributes:
        name: in the suite.
        model: how it is loaded.
        key: content address of its weights and what belongs to them.
        about: a victim's preprocessing, a surrogate's own backward rule.
        clean: a victim's accuracy on the clean images; None for a surrogate.
    """

    name: str
    model: str
    key: str
    about: str
    clean: Rate | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Headline:
    """What the first screen tells.

    Attributes:
        norm, eps, eps_text: the radius: the largest at which the best attack is not saturated, or the smallest.
        best: number of the attack with the highest mean over victims there.
        against: that attack against the best other recipe on its surrogate; None without another.
        worst: all attacks of this radius together.
    """

    norm: str
    eps: float
    eps_text: str
    best: int
    against: Comparison | None
    worst: WorstCase


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flag:
    """A reason to doubt a figure: its kind, for machines, and a sentence."""

    kind: str
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What there is to tell about a table of results.

    Attributes:
        title: the suite's name, or the folder's.
        outcomes: the table.
        standings: one an attack.
        comparisons: the best recipe of each setting against every other.
        worst: all attacks of each radius together.
        victims, surrogates: the networks.
        headline: None where no attack has a victim that is no white box.
        images: the images under the headline's attack.
        classes: the classes under it, the most fragile first.
        flags: reasons to doubt the figures.
        class_names: of the labels; may be empty.
        facts: what the table and its run say of themselves.
        command: what repeats the run; empty if nobody knows.
    """

    title: str
    outcomes: Outcomes
    standings: tuple[Standing, ...]
    comparisons: tuple[Comparison, ...]
    worst: tuple[WorstCase, ...]
    victims: tuple[Network, ...]
    surrogates: tuple[Network, ...]
    headline: Headline | None
    images: tuple[ImageCount, ...]
    classes: tuple[ClassRate, ...]
    flags: tuple[Flag, ...]
    class_names: tuple[str, ...]
    facts: Mapping[str, str]
    command: str

    @cached_property
    def several(self) -> frozenset[str]:
        """Which of an attack's facts differ within the table, so that a name has to tell them."""
        names = ("surrogate", "norm", "eps", "seed")
        found = {name for name in names if len({getattr(one, name) for one in self.outcomes.attacks}) > 1}
        same = [
            (one.surrogate, one.recipe, one.norm, one.eps, one.seed) for one in self.outcomes.attacks
        ]  # what tells them apart is their cost
        return frozenset(found | ({"gradients"} if len(set(same)) < len(same) else set()))

    def name_of(self, attack: Attack | int, *, eps: bool = True) -> str:
        """An attack's name: its recipe and what else tells it apart in this table.

        Args:
            attack: or its number.
            eps: name the radius, if the table has several.
        """
        one = self.outcomes.attacks[attack] if isinstance(attack, int) else attack
        words = [f"{one.recipe} on {one.surrogate}" if "surrogate" in self.several else one.recipe]
        if eps and {"eps", "norm"} & self.several:
            words.append(f"eps {one.eps_text}" + (f" ({one.norm})" if "norm" in self.several else ""))
        if "gradients" in self.several:
            words.append(f"{one.gradients} gradients")
        if "seed" in self.several:
            words.append(f"seed {one.seed}")
        return ", ".join(words)

    @cached_property
    def notes(self) -> dict[str, list[str]]:
        """What the run noted of its attacks, such as what capture changed, and the names of the attacks."""
        found: dict[str, list[str]] = {}
        for one in self.outcomes.attacks:
            for note in filter(None, (one.notes or "").split("; ")):
                found.setdefault(note, []).append(self.name_of(one))
        return found

    def at(self, radius: WorstCase) -> list[Standing]:
        """The attacks of one radius, in the table's order."""
        return [one for one in self.standings if (one.attack.norm, one.attack.eps) == (radius.norm, radius.eps)]

    def eps_text(self, radius: WorstCase) -> str:
        """A radius as the suite has it; an L2 radius says so."""
        return self.at(radius)[0].attack.eps_text + (" (L2)" if radius.norm == "l2" else "")

    def label(self, label: int) -> str:
        """A class in words, or its number."""
        return class_words(label, self.class_names)


def report_of(
    table: pa.Table,
    *,
    title: str = "",
    facts: Mapping[str, str] | None = None,
    command: str = "",
    class_names: tuple[str, ...] = (),
) -> Report:
    """Everything that the renderers tell about a table of results.

    Args:
        table: with the columns of a run's results.
        title: of the report; default: the suite's name.
        facts: of the run, besides those that the table carries.
        command: what repeats the run.
        class_names: of the labels.

    Raises:
        StoreError: the table has no rows, or a row twice.
    """
    known = {**facts_of(table), **(facts or {})}
    outcomes = Outcomes(table)
    found = standings(outcomes)
    comparisons = compare_with_best(outcomes, found)
    worst = worst_cases(outcomes)
    headline = _headline(found, comparisons, worst)
    images = () if headline is None else count_images(outcomes, headline.best)
    return Report(
        title=title or known.get("suite", "") or "Transfer of adversarial images",
        outcomes=outcomes,
        standings=found,
        comparisons=comparisons,
        worst=worst,
        victims=_networks(table, "victim", outcomes),
        surrogates=_networks(table, "surrogate", None),
        headline=headline,
        images=images,
        classes=rate_classes(outcomes, images),
        flags=_flags(outcomes, found, headline, known),
        class_names=class_names,
        facts=known,
        command=command,
    )


def _headline(
    found: tuple[Standing, ...], comparisons: tuple[Comparison, ...], worst: tuple[WorstCase, ...]
) -> Headline | None:
    bests: list[int] = []
    for radius in worst:
        here = [
            (one.mean.value, -number)
            for number, one in enumerate(found)
            if one.mean is not None and (one.attack.norm, one.attack.eps) == (radius.norm, radius.eps)
        ]
        if here:
            bests.append(-max(here)[1])
    if not bests:
        return None
    best = next((number for number in reversed(bests) if not found[number].saturated), bests[0])
    attack = found[best].attack
    mine = [one for one in comparisons if one.one == best]
    return Headline(
        norm=attack.norm,
        eps=attack.eps,
        eps_text=attack.eps_text,
        best=best,
        against=min(mine, key=lambda one: one.difference.value, default=None),
        worst=next(one for one in worst if (one.norm, one.eps) == (attack.norm, attack.eps)),
    )


def _networks(table: pa.Table, role: str, outcomes: Outcomes | None) -> tuple[Network, ...]:
    about = "preprocessing" if role == "victim" else "rule"
    clean = {} if outcomes is None else clean_rates(outcomes)
    return tuple(
        Network(
            name=row[role],
            model=row[f"{role}_model"],
            key=row[f"{role}_key"],
            about=row[about],
            clean=clean.get(row[role]),
        )
        for row in distinct(table, [role, f"{role}_model", f"{role}_key", about])
    )


FEW = 100
"""Fewer images than that are few: 95% intervals are 20 points wide."""


def _flags(
    outcomes: Outcomes, found: tuple[Standing, ...], headline: Headline | None, facts: Mapping[str, str]
) -> tuple[Flag, ...]:
    flags = []
    if facts.get("complete", "true") != "true":
        flags.append(Flag(kind="incomplete", text="The run is not finished: these are the results that there are."))
    if headline is None:
        flags.append(Flag(kind="white-box", text="Every victim has the weights of the surrogate: nothing transfers."))
    else:
        best = found[headline.best]
        if best.images < FEW:
            flags.append(
                Flag(
                    kind="few-images",
                    text=f"{best.images} images are few: intervals are wide, and small differences do not show.",
                )
            )
        if best.saturated:
            flags.append(
                Flag(
                    kind="saturated",
                    text="The best attack succeeds above 95% on every victim at every radius: such rates do not tell "
                    "attacks apart. Take smaller radii.",
                )
            )
        costs = {
            one.attack.gradients
            for one in found
            if (one.attack.norm, one.attack.eps, one.attack.surrogate)
            == (best.attack.norm, best.attack.eps, best.attack.surrogate)
        }
        if max(costs) > 1.1 * min(costs):
            flags.append(
                Flag(
                    kind="unequal-cost",
                    text=f"Attacks cost {min(costs)} to {max(costs)} gradients per image: part of a difference may be "
                    "the price. Compare them against gradients below.",
                )
            )
    if np.any(outcomes.white_box) and headline is not None:
        flags.append(
            Flag(
                kind="white-box-pairs",
                text="Some victims have a surrogate's own weights. These cells are marked, and left out of every mean.",
            )
        )
    return tuple(flags)
