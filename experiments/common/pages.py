"""Tables in Markdown, and their places in the pages under `docs`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from linbp.data.files import write_atomically
from linbp.evaluation.statistics import Interval, Rate

DOCS = Path(__file__).parents[2] / "docs"


def table(heads: Sequence[str], rows: Sequence[Sequence[object]], left: Sequence[int] = (0,)) -> list[str]:
    """A table whose columns stand on the right, but for those numbered in `left`."""
    rules = ["---" if column in left else "---:" for column in range(len(heads))]
    return [_row(heads), "|" + "|".join(rules) + "|", *map(_row, rows)]


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def between(page: str, name: str, text: Sequence[str]) -> str:
    """A page whose lines between `<!-- NAME: begin -->` and `<!-- NAME: end -->` are these."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return before + begin + "\n\n" + "\n".join(text) + "\n" + end + after


def put(path: Path, parts: dict[str, Sequence[str]]) -> None:
    """Write texts into a page, each between its two marks."""
    page = path.read_text()
    for name, text in parts.items():
        page = between(page, name, text)
    write_atomically(path, page.encode())


def share(rate: Rate) -> str:
    """A success rate in per cent with its 95% Wilson interval."""
    return f"{100 * (rate.value or 0):.0f} <small>{100 * rate.low:.0f}-{100 * rate.high:.0f}</small>"


def mean(found: Interval, digits: int = 0) -> str:
    """A mean over victims in per cent with its interval."""
    return f"**{found.value:.{digits}f}** <small>{found.low:.{digits}f}-{found.high:.{digits}f}</small>"


def difference(found: Interval, digits: int = 0, mark: str = "") -> str:
    """A difference of two means in points with its interval."""
    value, low, high = (f"{each:+.{digits}f}" for each in (found.value, found.low, found.high))
    return f"{mark}{value}{mark} <small>{low} to {high}</small>"
