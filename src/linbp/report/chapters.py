"""The chapters of a run's page, in the order in which a reader asks."""

from __future__ import annotations

from linbp.report.charts import dot_plot, success_against_cost, success_against_radius, transfer_matrix
from linbp.report.gallery import Gallery
from linbp.report.page import Chapter
from linbp.report.result import Report
from linbp.report.summary import sentences
from linbp.report.tables import (
    attack_table,
    class_table,
    comparison_table,
    image_table,
    network_tables,
    result_tables,
    worst_table,
)

__all__ = ["answer", "chapters_of", "comparisons", "curves", "images", "provenance", "results", "transfer"]


def chapters_of(report: Report, gallery: Gallery) -> list[Chapter]:
    """All chapters of a run's page; one that has nothing to tell is left out."""
    found = [
        answer(report),
        curves(report),
        transfer(report),
        comparisons(report),
        results(report),
        images(report, gallery),
        provenance(report),
    ]
    return [chapter for chapter in found if chapter is not None]


def answer(report: Report) -> Chapter:
    """The answer in words, what to doubt, and one picture."""
    first, *rest = sentences(report)
    charts = [] if report.headline is None else [dot_plot(report)]
    return Chapter(
        ident="answer",
        title="In short",
        template="answer.html.j2",
        values={"first": first, "rest": rest},
        charts=charts,
    )


def curves(report: Report) -> Chapter | None:
    """Success against the radius and against what attacks cost."""
    charts = [chart for chart in (success_against_radius(report), success_against_cost(report)) if chart is not None]
    if not charts:
        return None
    return Chapter(ident="curves", title="Radius and cost", template="charts.html.j2", charts=charts)


def transfer(report: Report) -> Chapter | None:
    """Who fools whom."""
    chart = transfer_matrix(report)
    if chart is None:
        return None
    return Chapter(ident="matrix", title="Transfer matrix", template="charts.html.j2", charts=[chart])


def comparisons(report: Report) -> Chapter | None:
    """The best recipe against every other, with Holm's correction."""
    if not report.comparisons:
        return None
    return Chapter(
        ident="comparisons",
        title="Is the difference real?",
        template="comparisons.html.j2",
        values={"compared": comparison_table(report)},
    )


def results(report: Report) -> Chapter:
    """Every attack on every victim, and the worst case over attacks."""
    return Chapter(
        ident="results",
        title="All results",
        template="results.html.j2",
        values={"worst": worst_table(report), "tables": result_tables(report)},
    )


def images(report: Report, gallery: Gallery) -> Chapter | None:
    """Classes and images under the best attack."""
    if not report.images:
        return None
    return Chapter(
        ident="images",
        title="Classes and images",
        template="images.html.j2",
        values={"by_class": class_table(report), "by_image": image_table(report), "gallery": gallery},
    )


def provenance(report: Report) -> Chapter:
    """What made the figures, and the command that makes them again."""
    return Chapter(
        ident="provenance",
        title="What made these figures",
        template="provenance.html.j2",
        values={"tables": network_tables(report), "attacks": attack_table(report)},
    )
