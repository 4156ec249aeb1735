"""The exposure against the radius, beside the strongest single attack and noise."""

from __future__ import annotations

from typing import Any

from linbp.audit.result import Audit
from linbp.evaluation.statistics import Rate
from linbp.report.charts import Chart
from linbp.report.charts.chart import specification
from linbp.report.words import interval, percent

__all__ = ["exposure_chart"]

LINES = ("any of the attacks (exposure)", "strongest single attack", "random noise of the same size")
COLOURS = ("#c8384e", "#4c78a8", "#8a8a8a")


def exposure_chart(audit: Audit) -> Chart | None:
    """A line for each of `LINES`, with intervals, and a mark for each threshold; None for a single radius."""
    if len(audit.radii) < 2:
        return None
    rows: list[dict[str, Any]] = []
    for one in audit.radii:
        rates: tuple[Rate | None, ...] = (one.worst, one.best.rate, one.noise)
        for place, (line, rate) in enumerate(zip(LINES, rates, strict=True)):
            if rate is not None and rate.value is not None:
                # A little apart, so that intervals do not hide each other.
                x = round(255 * one.eps * (1 + 0.02 * (place - 1)), 4)
                rows.append({"x": x, "eps": one.eps_text, "line": line, **_point(rate)})
    limits = [
        {"x": round(255 * one.eps, 4), "threshold": 100 * one.threshold, "label": percent(one.threshold)}
        for one in audit.verdicts
        if one.threshold is not None
    ]
    told = "; ".join(f"eps {one.eps_text}: {percent(one.worst.value)}" for one in audit.radii)
    return Chart(
        ident="exposure",
        title="Exposure against the size of the change",
        words=f"Line chart of the exposure. {told}. The table below has every number.",
        spec=specification(_chart([255 * one.eps for one in audit.radii], bool(limits)), rows=rows, limits=limits),
        note="Bars are 95% intervals." + (" Crosses are the thresholds." if limits else ""),
    )


def _point(rate: Rate) -> dict[str, Any]:
    assert rate.value is not None
    low, value, high = (round(100 * share, 2) for share in (rate.low, rate.value, rate.high))
    words = {"label": percent(rate.value), "range": interval(rate.low, rate.high), "n": rate.n}
    return {"value": value, "low": low, "high": high, **words}


def _chart(ticks: list[float], limits: bool) -> Any:
    import altair as alt

    colours, key = (
        alt.Scale(domain=LINES, range=COLOURS),
        alt.Legend(orient="bottom", columns=1, labelLimit=300, title=None),
    )
    x = alt.X(
        "x:Q",
        title="eps: the largest change, in levels of 255",
        scale=alt.Scale(type="log", nice=False, padding=24),
        axis=alt.Axis(values=[round(one, 4) for one in ticks], format="~g"),
    )
    y = alt.Y(
        "value:Q", title="images that fool the model, %", scale=alt.Scale(domain=[0, 100]), axis=alt.Axis(tickCount=6)
    )
    base = alt.Chart(alt.NamedData("rows")).encode(
        x=x, color=alt.Color("line:N", sort=LINES, scale=colours, legend=key)
    )
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        y=y,
        shape=alt.Shape("line:N", sort=LINES, scale=alt.Scale(domain=LINES), legend=key),
        tooltip=[
            alt.Tooltip("line:N"),
            alt.Tooltip("eps:N"),
            alt.Tooltip("label:N", title="rate"),
            alt.Tooltip("range:N", title="95% interval"),
            alt.Tooltip("n:Q", title="images"),
        ],
    )
    bars = base.mark_rule(opacity=0.5, strokeWidth=3).encode(y=y, y2="high:Q").transform_calculate(value="datum.low")
    chart = bars + base.mark_line().encode(y=y) + points
    if limits:
        marks = alt.Chart(alt.NamedData("limits")).mark_point(shape="cross", size=120, angle=45, filled=True, opacity=1)
        chart += marks.encode(
            x=x,
            y=alt.Y("threshold:Q"),
            color=alt.value("var(--ink)"),
            tooltip=[alt.Tooltip("label:N", title="threshold")],
        )
    return chart.properties(width="container", height=320)
