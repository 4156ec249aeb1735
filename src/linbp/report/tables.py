"""The tables of a report, before they are Markdown, LaTeX or HTML."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from linbp.evaluation.statistics import Interval, Rate, WorstCase
from linbp.report.result import Report
from linbp.report.words import chance, interval, percent, points

__all__ = [
    "Cell",
    "Table",
    "attack_table",
    "class_table",
    "comparison_table",
    "image_table",
    "network_tables",
    "result_tables",
    "worst_table",
]

MOST_ROWS = 300
"""A table for readers has no more; CSV and JSON have all."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what counts.
        detail: what stands beside it in small print: an interval, counts.
        best, saturated, white_box: how it is marked.
    """

    text: str
    detail: str = ""
    best: bool = False
    saturated: bool = False
    white_box: bool = False

    @property
    def plain(self) -> str:
        """The cell as text alone."""
        marks = ("†" if self.saturated else "") + ("*" if self.white_box else "")
        return f"{self.text}{marks}" + (f" ({self.detail})" if self.detail else "")


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: what it shows.
        heads: of the columns.
        rows: of as many cells each.
        right: how many columns from the last one are numbers.
        left_out: how many rows are not shown.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    right: int = 0
    left_out: int = 0

    @property
    def marks(self) -> list[str]:
        """What the marks in its cells mean."""
        cells = [cell for row in self.rows for cell in row]
        found = []
        if any(cell.saturated for cell in cells):
            found.append("† above 95%: saturated, does not tell attacks apart.")
        if any(cell.white_box for cell in cells):
            found.append("* white box: the victim has the surrogate's weights; not in the mean.")
        if self.left_out:
            found.append(f"{self.left_out:,} more rows are in the CSV.")
        return found


def _table(title: str, heads: Sequence[str], rows: list[list[Cell]], right: int) -> Table:
    return Table(title, heads, rows[:MOST_ROWS], right, max(0, len(rows) - MOST_ROWS))


def _rate(rate: Rate | None, *, white_box: bool = False) -> Cell:
    if rate is None or rate.value is None:
        return Cell("–", "none counted" if rate is not None else "")
    detail = f"{interval(rate.low, rate.high)}; {rate.successes}/{rate.n}"
    return Cell(percent(rate.value), detail, saturated=rate.saturated, white_box=white_box)


def _mean(mean: Interval | None, *, best: bool = False, saturated: bool = False) -> Cell:
    if mean is None:
        return Cell("–")
    return Cell(percent(mean.value), interval(mean.low, mean.high), best=best, saturated=saturated)


def result_tables(report: Report) -> list[Table]:
    """One table for each norm and radius: each attack, the best mean first, with its cost and every victim."""
    tables = []
    for radius in report.worst:
        here = sorted(report.at(radius), key=lambda one: 1 if one.mean is None else -one.mean.value)
        several = [name for name in ("surrogate", "seed") if name in report.several]
        rows = [
            [
                Cell(one.attack.recipe),
                *(Cell(str(getattr(one.attack, name))) for name in several),
                Cell(f"{one.attack.gradients:,}"),
                _mean(one.mean, best=number == 0, saturated=one.saturated),
                Cell(f"{one.images:,}"),
                *(_rate(rate, white_box=white) for rate, white in zip(one.rates, one.white_box, strict=True)),
                Cell(f"{one.l2_mean:.2f}"),
            ]
            for number, one in enumerate(here)
        ]
        heads = ["recipe", *several, "gradients", "mean", "images", *report.outcomes.victims, "L2"]
        title = f"Success at eps {report.eps_text(radius)}"
        tables.append(_table(title, heads, rows, len(heads) - 1 - len(several)))
    return tables


def comparison_table(report: Report) -> Table:
    """The best recipe of each setting against every other."""
    several = {"surrogate": "surrogate", "eps": "eps", "gradients": "gradients", "seed": "seed"}
    shown = [name for name in several if name in report.several]
    rows = []
    for one in report.comparisons:
        better, other = (report.outcomes.attacks[number] for number in (one.one, one.other))
        facts = {"surrogate": better.surrogate, "eps": better.eps_text, "seed": str(better.seed)}
        facts["gradients"] = f"{better.gradients:,}, {other.gradients:,}"
        rows.append(
            [
                Cell(better.recipe),
                Cell(other.recipe),
                *(Cell(facts[name]) for name in shown),
                Cell(points(one.difference).split(" ")[0], points(one.difference).split(" ", 1)[1][1:-1]),
                Cell(chance(one.difference.p)),
                Cell(chance(one.adjusted), best=one.adjusted <= 0.05),
                Cell(f"{one.images:,}"),
                Cell(str(one.victims)),
            ]
        )
    heads = ["best", "against", *shown, "difference, points", "p", "p (Holm)", "images", "victims"]
    return _table("The best recipe against every other, paired by image", heads, rows, 5)


def worst_table(report: Report) -> Table:
    """All attacks of each radius together, beside the best single one."""
    rows = []
    for radius in report.worst:
        here = report.at(radius)
        best = max((one.mean for one in here if one.mean), key=lambda mean: mean.value, default=None)
        rows.append(_worst_row(radius, report.eps_text(radius), best))
    heads = ["eps", "attacks", "gradients", "best single attack", "worst case", *report.outcomes.victims]
    return _table("Worst case: any of the attacks, image by image", heads, rows, len(heads) - 1)


def _worst_row(radius: WorstCase, eps: str, best: Interval | None) -> list[Cell]:
    return [
        Cell(eps),
        Cell(str(radius.attacks)),
        Cell(f"{radius.gradients:,}"),
        _mean(best),
        _mean(radius.mean),
        *map(_rate, radius.rates),
    ]


def class_table(report: Report) -> Table:
    """The classes under the best attack, the most fragile first."""
    rows = [[Cell(report.label(one.label)), Cell(percent(one.share)), _rate(one.rate)] for one in report.classes]
    heads = ["class", "mean share of victims fooled", "images that fool any victim"]
    return Table("Classes under the best attack", heads, rows, 2)


def image_table(report: Report) -> Table:
    """Every image under the best attack, those that fool most victims first."""
    order = sorted(report.images, key=lambda one: (-one.fooled / one.counted, -one.fooled, one.image))
    rows = [
        [
            Cell(report.outcomes.images[one.image]),
            Cell(report.label(int(report.outcomes.labels[one.image]))),
            Cell(str(one.counted)),
            Cell(str(one.fooled)),
            Cell(str(one.by_any)),
        ]
        for one in order[:MOST_ROWS]
    ]
    heads = ["image", "class", "victims that had it right", "fooled by the best attack", "fooled by any attack"]
    return Table("Images under the best attack", heads, rows, 3, len(order) - len(rows))


def attack_table(report: Report) -> Table:
    """What exactly each attack was, and where its adversarial images lie."""
    rows = [
        [
            Cell(one.recipe),
            Cell(one.recipe_text),
            Cell(one.surrogate),
            Cell(f"{one.eps_text} {one.norm}"),
            Cell(f"{one.steps:,}"),
            Cell(f"{one.gradients:,}"),
            Cell(str(one.seed)),
            Cell(one.attack_key[:12]),
        ]
        for one in report.outcomes.attacks
    ]
    heads = ["recipe", "in full", "surrogate", "eps", "steps", "gradients", "seed", "key"]
    return _table("Attacks", heads, rows, 4)


def network_tables(report: Report) -> list[Table]:
    """The victims, with their accuracy on clean images, and the surrogates."""
    victims = [
        [Cell(one.name), Cell(one.model), _rate(one.clean), Cell(one.about), Cell(one.key[:12])]
        for one in report.victims
    ]
    surrogates = [
        [Cell(one.name), Cell(one.model), Cell(one.about or "none of its own"), Cell(one.key[:12])]
        for one in report.surrogates
    ]
    return [
        Table("Victims", ["victim", "model", "right on clean images", "preprocessing", "key"], victims),
        Table("Surrogates", ["surrogate", "model", "backward rule", "key"], surrogates),
    ]
