"""Who fools whom: a matrix of success rates."""

from __future__ import annotations

from typing import Any

from linbp.evaluation.statistics import Rate, Standing
from linbp.report.charts.chart import Chart, Choice, best_of, filtered, first, radius_name, specification
from linbp.report.result import Report
from linbp.report.words import interval, percent

__all__ = ["transfer_matrix"]


def transfer_matrix(report: Report) -> Chart | None:
    """The rate on each victim of what was made on each surrogate, or with each recipe where there is one surrogate."""
    several = "surrogate" in report.several
    rows = [
        {
            "row": one.attack.surrogate if several else _recipe(report, one),
            "victim": victim,
            "recipe": _recipe(report, one),
            "eps": radius_name(one),
            **_cell(rate, white),
        }
        for one in report.standings
        for victim, rate, white in zip(report.outcomes.victims, one.rates, one.white_box, strict=True)
        if rate is not None and rate.value is not None
    ]
    if not rows:
        return None
    best = best_of(report)
    start = (None, None) if best is None else (_recipe(report, best), radius_name(best))
    choices = [Choice("recipe", "Recipe", first([row["recipe"] for row in rows], start[0]))] if several else []
    choices.append(Choice("eps", "Radius", first([row["eps"] for row in rows], start[1])))
    choices = [choice for choice in choices if len(choice.options) > 1]
    what, height = "surrogate" if several else "recipe", len({row["row"] for row in rows})
    return Chart(
        ident="transfer",
        title="Who fools whom",
        words=f"Matrix of the success rates of each {what} on each victim. The table of results has every number.",
        spec=specification(_chart(choices, list(report.outcomes.victims), what, 36 * height), rows=rows),
        choices=choices,
        note="Per cent of the images that the victim gets right. † saturated: above 95%. * white box: the victim has "
        "the surrogate's weights.",
    )


def _chart(choices: list[Choice], victims: list[str], what: str, height: int) -> Any:
    """The colours are the page's, which has light and dark ones; a rate is how much of the colour is seen."""
    import altair as alt

    base = filtered(alt.Chart(alt.NamedData("rows")), choices).encode(
        x=alt.X("victim:N", sort=victims, title="victim", axis=alt.Axis(labelAngle=-30, labelLimit=130)),
        y=alt.Y("row:N", sort=None, title=what, axis=alt.Axis(labelLimit=130)),
    )
    names = ("row:N", "victim:N", "recipe:N", "label:N", "range:N", "n:Q")
    heads = (what, "victim", "recipe", "rate", "95% interval", "images")
    squares = base.mark_rect(fill="var(--heat)").encode(
        opacity=alt.Opacity("value:Q", scale=alt.Scale(domain=[0, 100], range=[0.05, 1]), legend=None),
        tooltip=[alt.Tooltip(name, title=head) for name, head in zip(names, heads, strict=True)],
    )
    numbers = base.mark_text(fontWeight="bold", fontSize=13).encode(
        text="text:N", color=alt.condition("datum.value > 55", alt.value("var(--heat-ink)"), alt.value("var(--ink)"))
    )
    return (squares + numbers).properties(width="container", height=height)


def _recipe(report: Report, one: Standing) -> str:
    """The recipe, with its cost and seed where the table has it several times."""
    more = [f"{one.attack.gradients} gradients"] if "gradients" in report.several else []
    more += [f"seed {one.attack.seed}"] if "seed" in report.several else []
    return ", ".join([one.attack.recipe, *more])


def _cell(rate: Rate, white_box: bool) -> dict[str, Any]:
    label = percent(rate.value)
    return {
        "value": round(100 * (rate.value or 0), 2),
        "text": label[:-1] + ("†" if rate.saturated else "") + ("*" if white_box else ""),
        "label": label + (", white box" if white_box else ""),
        "range": interval(rate.low, rate.high),
        "n": rate.n,
    }
