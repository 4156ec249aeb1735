"""What the stored lines say of attacks on photographs, and how two attacks are compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any

import numpy as np

from common.lines import Lines
from common.pages import difference, mean, share
from common.photographs import VICTIMS
from linbp.evaluation.statistics import (
    Difference,
    difference_by_image,
    holm,
    mcnemar,
    mean_over_victims,
    paired_test,
    rate,
)

FLIPS = 99_999


def passes_of_all(lines: Lines, optional: Callable[[str], bool] = lambda name: False) -> set[int]:
    """The passes in which every attack has been run, so that all rows are about the same photographs.

    Optional attacks need not have all passes.
    """
    found: dict[str, set[int]] = defaultdict(set)
    for line in lines:
        found[line["recipe"]].add(line["pass"])
    needed = [passes for name, passes in found.items() if not optional(name)]
    return set.intersection(*needed) if needed else set()


class Outcomes:
    """What attacks did to the photographs of some passes; an attack that lacks one of these passes is left out.

    Args:
        lines: of attacks on one surrogate, told apart by their `recipe`, and of clean photographs.
        members: the networks that were attacked; all others are victims.
        passes: those that are looked at.
        succeeds: of a network's classes and the labels, which are successes; default: those that are wrong.
    """

    def __init__(
        self,
        lines: Lines,
        members: str | Sequence[str],
        passes: Collection[int],
        succeeds: Callable[[np.ndarray, np.ndarray], np.ndarray] = np.not_equal,
    ) -> None:
        self.members = [members] if isinstance(members, str) else [*members]
        self.victims = [name for name in VICTIMS if name not in self.members]
        # Two processes may both have added a line; the same attack then counts once.
        found: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        for line in lines:
            if line["pass"] in passes:
                found[line["recipe"]][line["pass"]] = line
        clean = found.pop("clean", {})
        self.passes = sorted(passes)
        labels = np.array([label for number in self.passes for label in clean[number]["labels"]])
        self.n = len(labels)

        def joined(parts: dict[int, dict[str, Any]]) -> dict[str, np.ndarray]:
            return {
                name: np.concatenate([parts[number]["predictions"][name] for number in self.passes])
                for name in parts[self.passes[0]]["predictions"]
            }

        self.right = {name: classes == labels for name, classes in joined(clean).items()} if passes else {}
        complete = {name: parts for name, parts in found.items() if len(parts) == len(passes)} if passes else {}
        self.line = {name: parts[self.passes[0]] for name, parts in complete.items()}
        """A line of each attack."""
        self.success = {
            name: {network: succeeds(classes, labels) for network, classes in joined(parts).items()}
            for name, parts in complete.items()
        }
        self.interval = cache(self._interval)

    def _stacked(self, name: str) -> np.ndarray:
        return np.stack([self.success[name][victim] for victim in self.victims])

    def _known(self) -> np.ndarray:
        return np.stack([self.right[victim] for victim in self.victims])

    def _interval(self, name: str) -> Any:
        return mean_over_victims(self._stacked(name), self._known(), unit=100)

    def mean(self, name: str) -> float:
        """Mean over victims of the success rate, in per cent."""
        return float(self.interval(name).value)

    def cells(self, name: str, networks: Sequence[str] = ()) -> list[str]:
        """The mean over victims, and the success on networks, each with its interval."""
        rates = [self.rate(name, network) for network in networks]
        return [mean(self.interval(name)), *map(share, rates)]

    def rate(self, name: str, network: str) -> Any:
        """The success on one network, over the photographs that it has right."""
        known = self.right[network]
        return rate(int(self.success[name][network][known].sum()), int(known.sum()))

    def difference(self, one: str, other: str) -> Difference:
        """The difference of two means over victims, paired by photograph."""
        return paired_test(self.parts(one, other), unit=100, flips=FLIPS)

    def parts(self, one: str, other: str) -> np.ndarray:
        """For each photograph its part of that difference, which is the parts' mean."""
        return difference_by_image(self._stacked(one), self._stacked(other), self._known())

    def mcnemar(self, one: str, other: str) -> tuple[int, int, float]:
        """How many pairs of photograph and victim only one attack succeeds on, only the other, and the exact test."""
        known = self._known()
        return mcnemar(self._stacked(one)[known], self._stacked(other)[known])


def compared(pairs: Sequence[tuple[Outcomes, str, str]]) -> list[list[str]]:
    """For each pair of attacks: the difference, p corrected by Holm's method for these pairs, the pairs of photograph
    and victim that only the first and only the second fools, and McNemar's p."""
    tests = [outcomes.difference(one, other) for outcomes, one, other in pairs]
    rows = []
    for (outcomes, one, other), test, p in zip(pairs, tests, holm([test.p for test in tests]), strict=True):
        first, second, chance = outcomes.mcnemar(one, other)
        rows.append([difference(test), f"{p:.2g}", f"{first}, {second}", f"{chance:.2g}"])
    return rows
