"""Success against the radius, and against what an attack costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from linbp.evaluation.statistics import Standing
from linbp.report.charts.chart import (
    RATE,
    Chart,
    Choice,
    best_of,
    filtered,
    first,
    point,
    radius_name,
    specification,
)
from linbp.report.result import Report

__all__ = ["success_against_cost", "success_against_radius"]

MOST = 8
"""More lines cannot be told apart; the tables have all."""

COLOURS = ("#4c78a8", "#e4832d", "#54a24b", "#b279a2", "#c8384e", "#3a9d9a", "#9d755d", "#8a8a8a")
"""Colours that most people can tell apart; each line has a shape too."""


def success_against_radius(report: Report) -> Chart | None:
    """Means against the radius, a line for each recipe; None where a norm has one radius only."""
    radii = {(one.attack.norm, one.attack.eps) for one in report.standings}
    norms = list(dict.fromkeys(norm for norm, _ in sorted(radii)))
    if len(radii) == len(norms):
        return None

    def levels(one: Standing) -> float:
        return one.attack.eps if one.attack.norm == "l2" else round(255 * one.attack.eps, 4)

    title = "eps, in levels of 255" if norms == ["linf"] else "eps (L-inf: levels of 255; L2: with images in [0, 1])"
    return _chart(
        report, "radius", "Success against eps", levels, ("surrogate", "norm"), title, {"zero": False, "padding": 20}
    )


def success_against_cost(report: Report) -> Chart | None:
    """Means against gradients per image, a line for each recipe, or a point; None where all cost the same."""
    if len({one.attack.gradients for one in report.standings}) < 2:
        return None
    title = "gradients per image (logarithmic)"
    scale = {"type": "log", "nice": False, "padding": 20}
    return _chart(
        report,
        "cost",
        "Success against gradients",
        lambda one: one.attack.gradients,
        ("surrogate", "eps"),
        title,
        scale,
    )


def _chart(
    report: Report,
    ident: str,
    title: str,
    x: Callable[[Standing], float],
    menus: Sequence[str],
    axis: str,
    scale: dict[str, Any],
) -> Chart | None:
    """A line for each recipe, with a menu for each column of `menus` that has several values."""
    import altair as alt

    recipes = _best_recipes(report)
    shown = [one for one in report.standings if one.mean is not None and one.attack.recipe in recipes]
    if not shown:
        return None
    rows = [_row(one, x(one)) for one in shown]
    best = best_of(report)
    start = {} if best is None else _row(best, 0)
    labels = {"surrogate": "Surrogate", "norm": "Norm", "eps": "Radius"}
    choices = [Choice(name, labels[name], first([row[name] for row in rows], start.get(name))) for name in menus]
    choices = [choice for choice in choices if len(choice.options) > 1]
    y = alt.Y("value:Q", title=RATE, scale=alt.Scale(domain=[0, 100]), axis=alt.Axis(tickCount=6))
    colours = alt.Scale(domain=recipes, range=list(COLOURS[: len(recipes)]))
    key = alt.Legend(orient="bottom", columns=2, labelLimit=220, title=None, symbolOpacity=1)
    base = filtered(alt.Chart(alt.NamedData("rows")), choices).encode(
        x=alt.X("x:Q", title=axis, scale=alt.Scale(**scale), axis=alt.Axis(tickCount=6)),
        color=alt.Color("recipe:N", sort=recipes, scale=colours, legend=key),
        detail="line:N",
    )
    points = base.mark_point(filled=True, size=80, opacity=1).encode(
        y=y,
        shape=alt.Shape("recipe:N", sort=recipes, scale=alt.Scale(domain=recipes), legend=key),
        tooltip=[
            alt.Tooltip("recipe:N"),
            alt.Tooltip("eps:N"),
            alt.Tooltip("label:N", title="mean"),
            alt.Tooltip("range:N", title="95% interval"),
            alt.Tooltip("cost:Q", title="gradients per image"),
            alt.Tooltip("n:Q", title="images"),
        ],
    )
    intervals = (
        base.mark_rule(opacity=0.4, strokeWidth=2).encode(y=y, y2="high:Q").transform_calculate(value="datum.low")
    )
    chart = (intervals + base.mark_line().encode(y=y) + points).properties(width="container", height=320)
    more = f" The best {MOST} recipes are shown." if len(recipes) == MOST else ""
    return Chart(
        ident=ident,
        title=title,
        words=f"Line chart of {', '.join(recipes)}. The table of results has every number.",
        spec=specification(chart, rows=rows),
        choices=choices,
        note=f"Means over the victims with 95% intervals.{more}",
    )


def _best_recipes(report: Report) -> list[str]:
    """The recipes with the highest mean anywhere, the best first."""
    best: dict[str, float] = defaultdict(float)
    for one in report.standings:
        if one.mean is not None:
            best[one.attack.recipe] = max(best[one.attack.recipe], one.mean.value)
    return sorted(best, key=lambda name: -best[name])[:MOST]


def _row(one: Standing, x: float) -> dict[str, Any]:
    attack = one.attack
    mean = {} if one.mean is None else point(one.mean)
    return {
        "x": x,
        "recipe": attack.recipe,
        "surrogate": attack.surrogate,
        "norm": attack.norm,
        "eps": radius_name(one),
        "line": f"{attack.recipe} {attack.seed}",
        "cost": attack.gradients,
        "n": one.images,
        **mean,
    }
