"""What every chart has, and how its rows are written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from linbp.evaluation.statistics import Interval, Standing
from linbp.report.result import Report
from linbp.report.words import interval, percent

__all__ = ["RATE", "Chart", "Choice", "best_of", "filtered", "first", "point", "radius_name", "specification"]

RATE = "attack success rate, %"


@dataclasses.dataclass(frozen=True)
class Choice:
    """A menu beside a chart: the column of its rows that it picks from, what it says, and what can be picked."""

    name: str
    label: str
    options: Sequence[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart.

    Attributes:
        ident: of its element.
        title: what it shows.
        words: what it says, for those who do not see it.
        spec: the Vega-Lite specification.
        choices: menus, where the chart shows a part at a time.
        note: what else is to be said.
    """

    ident: str
    title: str
    words: str
    spec: Mapping[str, Any]
    choices: Sequence[Choice] = ()
    note: str = ""


def point(mean: Interval) -> dict[str, Any]:
    """A mean and its interval in per cent, as numbers and in words."""
    low, value, high = (round(100 * share, 2) for share in (mean.low, mean.value, mean.high))
    words = {"label": percent(mean.value), "range": interval(mean.low, mean.high)}
    return {"value": value, "low": low, "high": high, **words}


def radius_name(one: Standing) -> str:
    """The radius of an attack as its suite has it."""
    return one.attack.eps_text + (" (L2)" if one.attack.norm == "l2" else "")


def first(options: Sequence[str], chosen: str | None) -> list[str]:
    """The options in their order, once each, but the chosen one first."""
    return sorted(dict.fromkeys(options), key=lambda option: option != chosen)


def best_of(report: Report) -> Standing | None:
    """The headline's best attack."""
    return None if report.headline is None else report.standings[report.headline.best]


def filtered(chart: Any, choices: Sequence[Choice]) -> Any:
    """A chart that shows the rows of what is picked, at first the first option of each menu."""
    import altair as alt

    for choice in choices:
        parameter = alt.param(name=f"pick_{choice.name}", value=choice.options[0])
        chart = chart.add_params(parameter).transform_filter(f"datum.{choice.name} === pick_{choice.name}")
    return chart


def specification(chart: Any, **datasets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A chart as plain values, with its rows and without colours of its own: the page has light and dark ones."""
    spec: dict[str, Any] = chart.to_dict()
    spec.pop("config", None)
    spec["datasets"] = {name: list(rows) for name, rows in datasets.items()}
    return spec
