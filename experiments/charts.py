"""The pictures of the pages of results: SVG without a background, readable on light and on dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt

GREY = "#8a8a8a"
"""Of axes and words: as far from white as from black."""
COLOURS = ("#2f8fdd", "#d56e28", "#279d6e", "#c45ab3")
"""Each at least 3.4 to 1 against white and against the dark page."""
RATE = "attack success rate, mean over victims, %"


@dataclass(frozen=True)
class Panel:
    """One plot of a picture.

    Attributes:
        title: above it.
        rows: one a mark, with `label` or `x`, `kind`, `mean`, `low` and `high`.
    """

    title: str
    rows: Sequence[dict[str, Any]]


def dots(panels: Sequence[Panel], low: float = 0) -> alt.VConcatChart:
    """A row for each attack: its mean over victims with its 95% interval; one plot below the other.

    Args:
        panels: the plots.
        low: where the scale begins, in per cent.
    """
    x = alt.Scale(domain=[low, 100])
    kinds = list(dict.fromkeys(row["kind"] for panel in panels for row in panel.rows))
    plots = []
    for number, panel in enumerate(panels):
        order = [row["label"] for row in panel.rows]
        base = alt.Chart(alt.Data(values=list(panel.rows))).encode(
            y=alt.Y("label:N", sort=order, title=None, axis=alt.Axis(labelLimit=420)), color=_colour(kinds)
        )
        axis = alt.Axis(title=RATE if number == len(panels) - 1 else None, values=[*range(0, 101, 10)])
        rules = base.mark_rule(strokeWidth=3, opacity=0.5).encode(
            x=alt.X("low:Q", scale=x, axis=axis), x2=alt.X2("high:Q")
        )
        marks = base.mark_point(filled=True, size=70, opacity=1).encode(
            x=alt.X("mean:Q", scale=x, axis=axis), shape=_shape(kinds)
        )
        words = base.mark_text(align="left", dx=9, dy=-7, fontSize=10).encode(
            x=alt.X("mean:Q", scale=x, axis=axis), text=alt.Text("mean:Q", format=".0f")
        )
        plots.append((rules + marks + words).properties(width=520, height=alt.Step(20), title=panel.title))
    return alt.vconcat(*plots)


def lines(
    panels: Sequence[Panel],
    title: str,
    what: str = RATE,
    domain: tuple[float, float] = (0, 100),
    logarithmic: bool = False,
) -> alt.HConcatChart:
    """Means against a number, with bands of 95%; plots side by side.

    Args:
        panels: the plots.
        title: what the number is.
        what: the means are.
        domain: of the means' axis.
        logarithmic: whether the number's axis is.
    """
    kinds = list(dict.fromkeys(row["kind"] for panel in panels for row in panel.rows))
    x = alt.X("x:Q", title=title, scale=alt.Scale(type="log" if logarithmic else "linear", nice=False, padding=12))
    plots = []
    for number, panel in enumerate(panels):
        base = alt.Chart(alt.Data(values=list(panel.rows))).encode(x=x, color=_colour(kinds))
        axis = alt.Axis(title=what if number == 0 else None)
        scale = alt.Scale(domain=list(domain))
        bands = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", axis=axis, scale=scale), y2="high:Q")
        y = alt.Y("mean:Q", axis=axis, scale=scale)
        curves = base.mark_line().encode(y=y)
        marks = base.mark_point(filled=True, size=36, opacity=1).encode(y=y, shape=_shape(kinds))
        plots.append((bands + curves + marks).properties(width=300, height=260, title=panel.title))
    return alt.hconcat(*plots)


def _colour(kinds: Sequence[str]) -> alt.Color:
    scale = alt.Scale(domain=list(kinds), range=list(COLOURS[: len(kinds)]))
    return alt.Color("kind:N", scale=scale, legend=alt.Legend(title=None, orient="top"))


def _shape(kinds: Sequence[str]) -> alt.Shape:
    shapes = ("circle", "diamond", "square", "triangle-up")
    return alt.Shape("kind:N", scale=alt.Scale(domain=list(kinds), range=list(shapes[: len(kinds)])))


def save(chart: alt.VConcatChart | alt.HConcatChart, path: Path) -> None:
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
