"""The audited model's column of a table of results, as arrays."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt

from linbp.data.predictions import ABSTAINED
from linbp.errors import StoreError
from linbp.evaluation.statistics import Attack, Outcomes, Rate, rate, worst_case

__all__ = ["VictimOutcomes"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.int8]


class VictimOutcomes:
    """What every attack did to one victim.

    Args:
        outcomes: a table of results.
        victim: the victim's name.
        other_classes: names of the surrogates that have others than the victim.

    Attributes:
        table: the table of results.
        number: of the victim in it.
        labels: (images,) their classes.
        other_classes: names of the surrogates whose attacks lead away from their own predictions.

    Raises:
        StoreError: the table has no such victim.
    """

    def __init__(self, outcomes: Outcomes, victim: str, other_classes: Collection[str] = ()) -> None:
        if victim not in outcomes.victims:
            raise StoreError(f"The results have nothing about {victim}.", "Finish the audit: run it again.")
        self.table, self.number = outcomes, outcomes.victims.index(victim)
        self.labels: Ints = outcomes.own_labels[self.number]
        self.other_classes = other_classes

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """The attacks that the victim was asked about."""
        return tuple(np.flatnonzero(self.table.asked[:, self.number]).tolist())

    def attack(self, number: int) -> Attack:
        """An attack by its number."""
        return self.table.attacks[number]

    def answers(self, number: int) -> Bytes:
        """(images,) 1 for a success, 0 for none, -1 where the victim had the clean image wrong."""
        found: Bytes = self.table.answers(number)[self.number]
        return found

    @cached_property
    def by_radius(self) -> dict[float, tuple[int, ...]]:
        """The attacks of each radius, the smallest first."""
        radii = sorted({self.attack(number).eps for number in self.numbers})
        return {eps: tuple(one for one in self.numbers if self.attack(one).eps == eps) for eps in radii}

    @cached_property
    def counted(self) -> Bools:
        """(images,) whether the victim had the clean image right."""
        found: Bools = self.table.clean[self.number] == self.labels
        return found

    def successes(self, numbers: Iterable[int]) -> Bools:
        """(attacks, images) whether each attack succeeded."""
        return np.stack([self.answers(number) == 1 for number in numbers])

    def fooled(self, numbers: Iterable[int]) -> Bools:
        """(images,) whether any of some attacks succeeded."""
        found: Bools = np.any(self.successes(numbers), axis=0)
        return found

    def rate(self, number: int) -> Rate:
        """The success rate of one attack."""
        return worst_case(self.successes([number]), self.counted)

    def worst(self, numbers: Iterable[int]) -> Rate:
        """The share of images on which any of some attacks succeeded."""
        return worst_case(self.successes(numbers), self.counted)

    def on_own_surrogate(self, number: int) -> tuple[Rate, Rate]:
        """How many clean images an attack's surrogate has right, and how many of these its adversarial images fool.

        One of other classes has none right, and is fooled where its own prediction changes.
        """
        clean, adv = (self.table.column(name, number, self.number) for name in ("surrogate_clean", "surrogate_adv"))
        if self.attack(number).surrogate in self.other_classes:
            return rate(0, 0), rate(int((adv != clean).sum()), len(clean))
        right = clean == self.labels
        fooled = right & (adv != self.labels)
        return rate(int(right.sum()), len(right)), rate(int(fooled.sum()), int(right.sum()))

    @cached_property
    def clean(self) -> Rate:
        """The victim's accuracy on the clean images."""
        return rate(int(self.counted.sum()), len(self.counted))

    def wrong(self, predictions: Mapping[str, int]) -> Bools:
        """(images,) whether other predictions, by image, are another class than the label.

        Raises:
            StoreError: they are of other images.
        """
        missing = next((name for name in self.table.images if name not in predictions), None)
        if missing is not None:
            raise StoreError(f"The controls have no answer to image {missing!r}.", "Run linbp audit again.")
        found = np.array([predictions[name] for name in self.table.images])
        wrong: Bools = (found != self.labels) & (found != ABSTAINED)
        return wrong
