"""Which attack of a run a picture shows, and to whom."""

from __future__ import annotations

import os

from linbp.bench.results_at import results_at
from linbp.errors import StoreError, nearest_name
from linbp.report.result import report_of

__all__ = ["chosen_attack"]


def chosen_attack(run: str | os.PathLike[str], name: str | None = None) -> tuple[str, list[str]]:
    """An attack's folder under `attacks/`, and the models of the run's victims.

    Args:
        run: its folder.
        name: of a folder, or of a recipe, whose best folder is taken; default: the headline's best attack.

    Raises:
        StoreError: no results, or no such attack.
    """
    report = report_of(results_at(run)[1])
    models = list(dict.fromkeys(victim.model for victim in report.victims))
    ranked = sorted(report.standings, key=lambda one: -(one.mean.value if one.mean else 0))
    if name is None:
        best = report.standings[report.headline.best] if report.headline else ranked[0]
        return best.attack.attack, models
    for one in ranked:
        if name in (one.attack.attack, one.attack.recipe):
            return one.attack.attack, models
    known = [one.attack.recipe for one in report.standings] + [one.attack.attack for one in report.standings]
    raise StoreError(f"{run} has no attack {name!r}.", nearest_name(name, known))
