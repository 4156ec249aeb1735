"""A report as Markdown: the answer, what to doubt, and the tables."""

from __future__ import annotations

from linbp.report.result import Report
from linbp.report.summary import sentences
from linbp.report.tables import Cell, Table, comparison_table, network_tables, result_tables, worst_table

__all__ = ["render", "table_lines", "text"]

SPECIAL = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|~#"})


def render(report: Report) -> str:
    """The report as GitHub and MkDocs read it."""
    lines = [f"# {text(report.title)}", "", *(text(one) for one in sentences(report)), ""]
    lines += [f"> **Note.** {text(flag.text)}\n" for flag in report.flags]
    tables = [*result_tables(report), worst_table(report)]
    if report.comparisons:
        tables.append(comparison_table(report))
    for table in [*tables, *network_tables(report)]:
        lines += table_lines(table)
    if report.command:
        lines += ["Repeat it:", "", "```sh", report.command, "```", ""]
    return "\n".join(lines)


def table_lines(table: Table) -> list[str]:
    """A table with its title as a heading; nothing where it has no rows."""
    if not table.rows:
        return []
    left = len(table.heads) - table.right
    bar = ["---"] * left + ["---:"] * table.right
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    heads = [text(head) for head in table.heads]
    lines = [f"| {' | '.join(row)} |" for row in (heads, bar, *rows)]
    marks = [f"{text(mark)}  " for mark in table.marks]
    return [f"## {text(table.title)}", "", *lines, "", *marks, *([""] if marks else [])]


def _cell(cell: Cell) -> str:
    words = text(cell.text + ("†" if cell.saturated else "") + ("*" if cell.white_box else ""))
    if cell.best:
        words = f"**{words}**"
    return f"{words} <small>{text(cell.detail)}</small>" if cell.detail else words


def text(words: str) -> str:
    """Words as plain text: nothing in them is markup."""
    return " ".join(words.split()).translate(SPECIAL)
