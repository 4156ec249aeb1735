"""Which attack of a run a picture shows, and to whom."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from linbp.bench.results_at import results_at
from linbp.errors import StoreError, nearest_name
from linbp.report.result import Report, report_of

__all__ = ["ChosenAttack", "chosen_attack"]


@dataclass(frozen=True)
class ChosenAttack:
    """An attack of a run.

    Attributes:
        folder: its name under `attacks/`.
        surrogate: what the suite calls the network that it was made on.
        victims: what the suite calls its victims, by how they are loaded.
    """

    folder: str
    surrogate: str
    victims: Mapping[str, str]


def chosen_attack(run: str | os.PathLike[str], name: str | None = None) -> ChosenAttack:
    """An attack of a run, and the run's victims.

    Args:
        run: its folder.
        name: of a folder, or of a recipe, whose best folder is taken; default: the headline's best attack.

    Raises:
        StoreError: no results, or no such attack.
    """
    report = report_of(results_at(run)[1])
    ranked = sorted(report.standings, key=lambda one: -(one.mean.value if one.mean else 0))
    if name is None:
        best = report.standings[report.headline.best] if report.headline else ranked[0]
        return _chosen(report, best.attack.attack, best.attack.surrogate)
    for one in ranked:
        if name in (one.attack.attack, one.attack.recipe):
            return _chosen(report, one.attack.attack, one.attack.surrogate)
    known = [one.attack.recipe for one in report.standings] + [one.attack.attack for one in report.standings]
    raise StoreError(f"{run} has no attack {name!r}.", nearest_name(name, known))


def _chosen(report: Report, folder: str, surrogate: str) -> ChosenAttack:
    victims: dict[str, str] = {}
    for victim in report.victims:
        victims.setdefault(victim.model, victim.name)
    return ChosenAttack(folder, surrogate, victims)
