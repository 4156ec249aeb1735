"""A report as Markdown: the answer, what to doubt, and the tables."""

from __future__ import annotations

from linbp.report.result import Report
from linbp.report.summary import sentences
from linbp.report.tables import Cell, Table, comparison_table, network_tables, result_tables, worst_table

__all__ = ["render"]

SPECIAL = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|~#"})


def render(report: Report) -> str:
    """The report as GitHub and MkDocs read it."""
    lines = [f"# {_text(report.title)}", "", *(_text(one) for one in sentences(report)), ""]
    lines += [f"> **Note.** {_text(flag.text)}\n" for flag in report.flags]
    tables = [*result_tables(report), worst_table(report)]
    if report.comparisons:
        tables.append(comparison_table(report))
    for table in [*tables, *network_tables(report)]:
        lines += _table(table)
    if report.command:
        lines += ["Repeat it:", "", "```sh", report.command, "```", ""]
    return "\n".join(lines)


def _table(table: Table) -> list[str]:
    if not table.rows:
        return []
    left = len(table.heads) - table.right
    bar = ["---"] * left + ["---:"] * table.right
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    heads = [_text(head) for head in table.heads]
    lines = [f"| {' | '.join(row)} |" for row in (heads, bar, *rows)]
    marks = [f"{_text(mark)}  " for mark in table.marks]
    return [f"## {_text(table.title)}", "", *lines, "", *marks, *([""] if marks else [])]


def _cell(cell: Cell) -> str:
    text = _text(cell.text + ("†" if cell.saturated else "") + ("*" if cell.white_box else ""))
    if cell.best:
        text = f"**{text}**"
    return f"{text} <small>{_text(cell.detail)}</small>" if cell.detail else text


def _text(text: str) -> str:
    return " ".join(text.split()).translate(SPECIAL)
