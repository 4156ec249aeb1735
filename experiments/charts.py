"""The pictures of the pages of results: SVG without a background, readable on light and on dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt

GREY = "#8a8a8a"
"""Of axes and words: as far from white as from black."""
COLOURS = ("#2f8fdd", "#d56e28", "#279d6e", "#c45ab3")
"""Each at least 3.4 to 1 against white and against the dark page."""
MORE = ("#9a7d2e", "#e0529c", "#0f93a5", "#8472d6", "#6f8f2a", "#d9534f")
SHAPES = ("circle", "diamond", "square", "triangle-up")
DASHES = {"with LinBP": [1, 0], "without LinBP": [5, 4]}
RATE = "attack success rate, mean over victims, %"


Panel = tuple[str, Sequence[dict[str, Any]]]
"""The title of a plot, and a row for each of its marks: `label` or `x`, `kind`, `mean`, `low` and `high`."""


def dots(panels: Sequence[Panel], low: float = 0) -> alt.VConcatChart:
    """A row for each attack: its mean over victims with its 95% interval, on a scale that begins at `low` per cent."""
    plots = []
    for number, (name, rows) in enumerate(panels):
        axis = alt.Axis(title=RATE if number == len(panels) - 1 else None, values=[*range(0, 101, 10)])
        place = {"scale": alt.Scale(domain=[low, 100]), "axis": axis}
        y = alt.Y("label:N", sort=[row["label"] for row in rows], title=None, axis=alt.Axis(labelLimit=420))
        base, shape = _base(panels, rows)
        base = base.encode(y=y)
        mean = alt.X("mean:Q", **place)
        rules = base.mark_rule(strokeWidth=3, opacity=0.5).encode(x=alt.X("low:Q", **place), x2=alt.X2("high:Q"))
        marks = base.mark_point(filled=True, size=70, opacity=1).encode(x=mean, shape=shape)
        words = base.mark_text(align="left", dx=9, dy=-7, fontSize=10).encode(
            x=mean, text=alt.Text("mean:Q", format=".0f")
        )
        plots.append((rules + marks + words).properties(width=520, height=alt.Step(20), title=name))
    return alt.vconcat(*plots)


def lines(
    panels: Sequence[Panel],
    title: str,
    what: str = RATE,
    domain: tuple[float, float] = (0, 100),
    logarithmic: bool = False,
) -> alt.HConcatChart:
    """Means, called `what`, against a number, called `title`, with bands of 95%; plots side by side."""
    x = alt.X("x:Q", title=title, scale=alt.Scale(type="log" if logarithmic else "linear", nice=False, padding=12))
    plots = []
    for number, (name, rows) in enumerate(panels):
        base, shape = _base(panels, rows)
        base = base.encode(x=x)
        place = {"axis": alt.Axis(title=what if number == 0 else None), "scale": alt.Scale(domain=list(domain))}
        bands = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", **place), y2="high:Q")
        curves = base.mark_line().encode(y=alt.Y("mean:Q", **place))
        marks = base.mark_point(filled=True, size=36, opacity=1).encode(y=alt.Y("mean:Q", **place), shape=shape)
        plots.append((bands + curves + marks).properties(width=300, height=260, title=name))
    return alt.hconcat(*plots)


def curves(panels: Sequence[Panel], title: str, ticks: Sequence[int]) -> alt.ConcatChart:
    """Means against a number, two plots in a row, each with its legend; a row's `family` is one of `DASHES`."""
    plots = []
    domain = [ticks[0] * 0.75, ticks[-1] * 1.35]
    x = alt.X("x:Q", scale=alt.Scale(type="log", domain=domain, nice=False), axis=alt.Axis(title=title, values=ticks))
    scale = alt.Scale(domain=[*DASHES], range=[*DASHES.values()])
    dash = alt.StrokeDash("family:N", scale=scale, legend=alt.Legend(title=None, orient="top"))
    for name, rows in panels:
        kinds = list(dict.fromkeys(row["kind"] for row in rows))
        legend = alt.Legend(title=None, orient="right", labelLimit=300, padding=14)
        colour = alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=[*COLOURS, *MORE]), legend=legend)
        place = {"scale": alt.Scale(zero=False), "axis": alt.Axis(title="mean, %")}
        base = alt.Chart(alt.Data(values=list(rows))).encode(x=x, color=colour)
        rules = base.mark_rule(opacity=0.5).encode(y=alt.Y("low:Q", **place), y2="high:Q")
        marks = base.mark_point(filled=True, size=40, opacity=1).encode(y=alt.Y("mean:Q", **place))
        curve = base.mark_line(strokeWidth=1.5).encode(y=alt.Y("mean:Q", **place), strokeDash=dash)
        plots.append((rules + curve + marks).properties(width=300, height=230, title=name))
    return alt.concat(*plots, columns=2).resolve_scale(color="independent")


def _base(panels: Sequence[Panel], rows: Sequence[dict[str, Any]]) -> tuple[alt.Chart, alt.Shape]:
    """A plot's rows in the colours of their kinds, which are those of the whole picture, and the kinds' shapes."""
    kinds = list(dict.fromkeys(row["kind"] for _, several in panels for row in several))
    colours, shapes = (alt.Scale(domain=kinds, range=list(one[: len(kinds)])) for one in (COLOURS, SHAPES))
    colour = alt.Color("kind:N", scale=colours, legend=alt.Legend(title=None, orient="top"))
    return alt.Chart(alt.Data(values=list(rows))).encode(color=colour), alt.Shape("kind:N", scale=shapes)


def save(chart: alt.ConcatChart | alt.VConcatChart | alt.HConcatChart, path: Path) -> None:
    """As SVG."""
    axis = {"labelColor": GREY, "titleColor": GREY, "domainColor": GREY, "tickColor": GREY, "gridOpacity": 0.25}
    words = {"labelColor": GREY, "titleColor": GREY}
    chart = chart.configure(
        background="transparent",
        padding={"left": 50, "right": 5, "top": 5, "bottom": 5},  # browsers' letters are wider than those measured here
        axis=alt.AxisConfig(**axis, gridColor=GREY, labelFontSize=12, titleFontSize=12),
        legend=alt.LegendConfig(**words, labelFontSize=12),
        title=alt.TitleConfig(color=GREY, fontSize=13, anchor="start", frame="group"),
        view=alt.ViewConfig(stroke=None),
    )
    chart.save(path)
