"""A report's tables as LaTeX, for the packages booktabs and longtable."""

from __future__ import annotations

from linbp.report.result import Report
from linbp.report.tables import Cell, Table, comparison_table, result_tables, worst_table

__all__ = ["render"]

SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "†": r"\textdagger{}",
        "–": "--",
        "×": r"$\times$",
        **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    }
)


def render(report: Report) -> str:
    r"""Tables for `\input`: success at each radius, the worst case, the comparisons.

    They need `\usepackage{booktabs,longtable}`, and UTF-8, which is LaTeX's default, for names in other letters.
    """
    tables = [*result_tables(report), worst_table(report)]
    if report.comparisons:
        tables.append(comparison_table(report))
    head = f"% {' '.join(report.title.split())}. Needs \\usepackage{{booktabs,longtable}}."
    return "\n".join([head, "", *map(_table, tables)])


def _table(table: Table) -> str:
    columns = "l" * (len(table.heads) - table.right) + "r" * table.right
    heads = " & ".join(map(_text, table.heads))
    rows = [" & ".join(map(_cell, row)) + r" \\" for row in table.rows]
    caption = " ".join([f"{table.title}.", "Rates with 95% intervals and counts.", *table.marks])
    return "\n".join(
        [
            rf"\begin{{longtable}}{{{columns}}}",
            rf"\caption{{{_text(caption)}}} \\",
            r"\toprule",
            rf"{heads} \\",
            r"\midrule",
            r"\endhead",
            *rows,
            r"\bottomrule",
            r"\end{longtable}",
            "",
        ]
    )


def _cell(cell: Cell) -> str:
    text = _text(cell.text + ("†" if cell.saturated else "") + ("*" if cell.white_box else ""))
    if cell.best:
        text = rf"\textbf{{{text}}}"
    return rf"{text} {{\footnotesize {_text(cell.detail)}}}" if cell.detail else text


def _text(text: str) -> str:
    return " ".join(text.split()).translate(SPECIAL)
