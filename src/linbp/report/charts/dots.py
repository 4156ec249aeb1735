"""The first picture: every attack at the headline's radius, best first, with intervals."""

from __future__ import annotations

from typing import Any

from linbp.report.charts.chart import RATE, Chart, point, specification
from linbp.report.result import Report

__all__ = ["dot_plot"]

MOST = 14
"""As many lines as fit a screen."""

BEST, OTHER = "#c8384e", "#4c78a8"


def dot_plot(report: Report) -> Chart:
    """The mean of each attack over the victims with its interval; small marks are single victims."""
    head = report.headline
    assert head is not None
    here = sorted(
        (one for one in report.at(head.worst) if one.mean), key=lambda one: -(one.mean.value if one.mean else 0)
    )
    means: list[dict[str, Any]] = []
    victims: list[dict[str, Any]] = []
    for number, one in enumerate(here[:MOST]):
        assert one.mean is not None
        name = {"attack": report.name_of(one.attack, eps=False), "kind": "best" if number == 0 else "other"}
        means.append({**name, **point(one.mean), "cost": one.attack.gradients, "n": one.images})
        victims += [
            {**name, "value": round(100 * rate.value, 2), "victim": victim, "n": rate.n}
            for victim, rate, white in zip(report.outcomes.victims, one.rates, one.white_box, strict=True)
            if rate is not None and rate.value is not None and not white
        ]
    left_out = len(here) - len(means)
    told = "; ".join(f"{row['attack']} {row['label']} ({row['range']})" for row in means)
    return Chart(
        ident="dots",
        title=f"Success of each attack at eps {head.eps_text}",
        words=f"Dot plot, best first: {told}.",
        spec=specification(_chart([row["attack"] for row in means]), means=means, victims=victims),
        note="Dots are means over the victims with 95% intervals, ticks are single victims, the diamond is the best "
        "attack." + (f" The {left_out} attacks below these are in the table." if left_out else ""),
    )


def _chart(order: list[str]) -> Any:
    """Names stand above their lines, so that long ones fit a phone."""
    import altair as alt

    kinds = ["best", "other"]
    colour = alt.Color("kind:N", legend=None, scale=alt.Scale(domain=kinds, range=[BEST, OTHER]))
    x = alt.X("value:Q", title=RATE, scale=alt.Scale(domain=[0, 100]), axis=alt.Axis(tickCount=6))
    y = alt.Y("attack:N", sort=order, axis=None)
    base = alt.Chart(alt.NamedData("means")).encode(y=y, color=colour)
    rules = (
        base.mark_rule(strokeWidth=4, yOffset=8, opacity=0.45)
        .encode(x=x, x2="high:Q")
        .transform_calculate(value="datum.low")
    )
    dots = base.mark_point(filled=True, size=120, yOffset=8, opacity=1).encode(
        x=x,
        shape=alt.Shape("kind:N", legend=None, scale=alt.Scale(domain=kinds, range=["diamond", "circle"])),
        tooltip=[
            alt.Tooltip("attack:N"),
            alt.Tooltip("label:N", title="mean"),
            alt.Tooltip("range:N", title="95% interval"),
            alt.Tooltip("cost:Q", title="gradients per image"),
            alt.Tooltip("n:Q", title="images"),
        ],
    )
    names = (
        alt.Chart(alt.NamedData("means"))
        .transform_calculate(words="datum.attack + ': ' + datum.label")
        .mark_text(align="left", dy=-8, fontSize=13)
        .encode(x=alt.value(2), y=y, text="words:N")
    )
    single = (
        alt.Chart(alt.NamedData("victims"))
        .mark_tick(thickness=2, size=13, yOffset=8, opacity=0.8)
        .encode(
            x=x,
            y=y,
            color=colour,
            tooltip=[alt.Tooltip("victim:N"), alt.Tooltip("value:Q", title="rate, %"), alt.Tooltip("n:Q")],
        )
    )
    return (rules + single + dots + names).properties(width="container", height=40 * len(order))
