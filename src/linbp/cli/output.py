"""Tables and progress bars for people, JSON for machines."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from linbp.cli.streams import data_stream

if TYPE_CHECKING:
    from linbp.data.unused import Unused
    from linbp.evaluation import Rate

__all__ = [
    "add_row",
    "counted",
    "interval",
    "make_table",
    "print_json",
    "print_note",
    "print_unused",
    "progress_bars",
    "share",
    "stdout",
]


def stdout() -> Console:
    """The console for tables: as wide as the terminal or COLUMNS, or 160 characters where there is neither."""
    console = Console(highlight=False)
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(highlight=False, width=160)


def make_table(*columns: str, title: str | None = None, right: Collection[str] = ()) -> Table:
    """An empty table that fits a terminal of 80 columns; long names are wrapped, never cut.

    Args:
        columns: their names.
        title: of the table.
        right: names of the columns that are aligned to the right.
    """
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table


def add_row(table: Table, *cells: str) -> None:
    """Add a row of plain text: brackets in names are not markup."""
    table.add_row(*(Text(cell) for cell in cells))


def share(rate: Rate) -> str:
    """A rate with its counts."""
    return "none counted" if rate.value is None else f"{rate.value:.1%} ({rate.successes}/{rate.n})"


def interval(rate: Rate) -> str:
    """The 95% interval of a rate."""
    return f"{rate.low:.1%} to {rate.high:.1%}"


def counted(number: int, what: str) -> str:
    """A number of things: `1 step`, `2 steps`."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False), file=data_stream(), flush=True)


def print_unused(place: str, unused: Sequence[Unused]) -> None:
    """A note on standard error of what is not used of a list or of its images; nothing where all is."""
    from linbp.data.unused import sentence

    if unused:
        print_note(sentence(place, unused))


def print_note(text: str) -> None:
    """A note on standard error."""
    print(f"Note: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress_bars(hidden: bool) -> Iterator[Callable[..., None]]:
    """A function (stage, done, total, words) that draws one bar per stage, with time left and words, on standard error.

    Nothing is drawn if `hidden`, or if standard error is not a terminal.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[words]}"),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, disable=hidden or not console.is_terminal) as bars:

        def tell(stage: str, done: int, total: int, words: str = "") -> None:
            if stage not in tasks:
                # A job that goes on starts where it is, or the time left would count what others have done.
                tasks[stage] = bars.add_task(stage, total=total, completed=done, words=words)
            bars.update(tasks[stage], completed=done, total=total, words=words)

        yield tell
