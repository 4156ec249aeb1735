"""What all commands share: options, the two lines of an error, progress bars, JSON."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from linbp.errors import LinbpError, ModelError

if TYPE_CHECKING:
    from linbp.evaluation import Rate
    from linbp.models import Model

__all__ = [
    "BatchSize",
    "Debug",
    "Device",
    "Interrupted",
    "Json",
    "Threads",
    "add_row",
    "command_line",
    "guard",
    "load_surrogate",
    "print_json",
    "progress_bars",
    "share",
    "stdout",
    "usable_device",
]

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

EXIT_UNEXPECTED, EXIT_FAULT, EXIT_INTERRUPTED = 1, 2, 130

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines, and nothing else, on standard output.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Device = Annotated[
    str | None,
    typer.Option("--device", help="Where networks run: cpu, cuda, cuda:1, mps. Default: cpu.", metavar="NAME"),
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images at a time.")]
Threads = Annotated[
    int, typer.Option("--threads", min=1, help="Threads that decode images; results do not depend on it.")
]


class Interrupted(Exception):
    """Ctrl-C, with one line on what is kept and how to go on."""


def stdout() -> Console:
    """Where tables go: as wide as the terminal, and wide enough for a table where there is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160)


def add_row(table: Table, *cells: str) -> None:
    """Add a row of plain text: brackets in names are no markup."""
    table.add_row(*(Text(cell) for cell in cells))


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def share(rate: Rate) -> str:
    """A rate with what it was counted over."""
    return "none counted" if rate.value is None else f"{rate.value:.1%} ({rate.successes}/{rate.n})"


def command_line() -> str:
    """What the user typed, for the records."""
    import shlex

    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def guard(command: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Decorator of a command: what goes wrong becomes lines for people and an exit status for machines.

    A fault of the user's gives two lines and status 2, Ctrl-C one line and 130, anything else one line and 1. The
    traceback is shown with `--debug` only.
    """

    @functools.wraps(command)
    def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        try:
            return command(*args, **kwargs)
        except (BrokenPipeError, typer.Exit, typer.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if kwargs.get("debug"):
                traceback.print_exc()
            lines, status = _in_words(error)
            for line in lines:
                print(" ".join(line.split()), file=sys.stderr)
            raise typer.Exit(status) from None

    return guarded


def _in_words(error: BaseException) -> tuple[list[str], int]:
    """Lines for people and the exit status."""
    if isinstance(error, LinbpError):
        return [f"Error: {error.message}", *([f"Hint: {error.hint}"] if error.hint else [])], EXIT_FAULT
    if isinstance(error, Interrupted):
        return [f"Interrupted: {error}"], EXIT_INTERRUPTED
    if isinstance(error, KeyboardInterrupt):
        return ["Interrupted."], EXIT_INTERRUPTED
    # torch.OutOfMemoryError is compared by name, so that torch need not be imported for --help.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return [
            "Error: The memory is used up.",
            "Hint: Use a smaller --batch-size; finished images are kept.",
        ], EXIT_FAULT
    what = f"{type(error).__name__}: {error}".strip().splitlines()[0].rstrip(".: ")
    return [f"Error: unexpected {what}. Run again with --debug to see where, and please report it."], EXIT_UNEXPECTED


def load_surrogate(name: str) -> Model:
    """The network of that name.

    Raises:
        ModelError: there is none, or it gives no gradients.
    """
    from linbp.models import Model, load_model

    model = load_model(name)
    if not isinstance(model, Model):
        raise ModelError(
            f"{model.name} gives no gradients, so it cannot be a surrogate.",
            "Use it as a --victim, and a network of PyTorch's as the surrogate.",
        )
    return model


def usable_device(name: str | None) -> str | None:
    """`name` if networks can run there.

    Raises:
        ModelError: PyTorch has no such device here.
    """
    import torch

    if name is not None:
        try:
            torch.zeros(1, device=name)
        # Each back end of PyTorch has exceptions of its own.
        except Exception as error:
            raise ModelError(
                f"There is no device {name!r} here: {str(error).splitlines()[0]}",
                "Use cpu, or one that this machine and this build of PyTorch have, such as cuda or mps.",
            ) from error
    return name


@contextlib.contextmanager
def progress_bars(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A function (stage, done, total) that draws one bar a stage, with the time left, on standard error.

    Nothing is drawn where `quiet`, or where standard error is not a terminal.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bars:

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield tell
