"""A report as CSV: one line for each attack and victim, and one for their mean."""

from __future__ import annotations

import csv
import io

from linbp.report.result import Report
from linbp.report.rows import cells

__all__ = ["render"]


def render(report: Report) -> str:
    """The rows of `cells`, with a line of names; what is not known is empty."""
    text = io.StringIO()
    rows = list(cells(report))
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
