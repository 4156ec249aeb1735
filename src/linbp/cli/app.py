"""The command line: all commands under one name."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from linbp.cli.audit import audit
from linbp.cli.bench import bench
from linbp.cli.compare import compare
from linbp.cli.craft import craft
from linbp.cli.demo import demo
from linbp.cli.evaluate import evaluate
from linbp.cli.guard import UsageError, usage_lines
from linbp.cli.inspect import inspect
from linbp.cli.linearize import linearize
from linbp.cli.list import list_parts
from linbp.cli.picture import picture
from linbp.cli.refine import refine
from linbp.cli.report import report
from linbp.cli.show import show
from linbp.cli.substitute import substitute
from linbp.cli.zoo import zoo
from linbp.errors import LinbpWarning
from linbp.version import __version__

__all__ = ["app", "main"]

app = typer.Typer(
    name="linbp",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def linbp(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """How exposed is an image classifier to attacks made on other networks, and how sure is that?

    linbp audit answers for your model. The other commands are its parts: craft makes adversarial images on a network
    you have, evaluate asks models about them that you can only query, bench compares attacks.

    [bold]Examples[/bold]

      linbp audit demo:efficientnet_lite0 --data demo:imagenet --out runs/lite0

      linbp inspect demo:squeezenet1_1

      linbp craft --surrogate demo:squeezenet1_1 --recipe "linbp(start=0.2) + mi" --data photos/images.csv --out adv

      linbp evaluate adv --victim demo:efficientnet_lite0
    """


app.command()(audit)
app.command()(inspect)
app.command()(craft)
app.command()(evaluate)
app.command()(bench)
app.command()(compare)
app.command()(report)
app.command()(picture)
app.command()(substitute)
app.command()(linearize)
app.command("list")(list_parts)
app.command()(show)
app.command()(demo)
app.add_typer(refine)
app.add_typer(zoo)


def _empty(words: Sequence[str]) -> str | None:
    """The empty argument, if any: as a path it would be the current folder, as a position the whole network."""
    before = ""
    for word in words:
        name, sign, value = word.partition("=")
        if name.startswith("--") and sign and not value:
            return name
        if not word:
            return f"The argument after {before}" if before else "The first argument"
        before = word
    return None


def _show_warning(others: Callable[..., None], message: Warning | str, category: type[Warning], *where: Any) -> None:
    """One line for a warning of linbp's; others are shown as ever."""
    if issubclass(category, LinbpWarning):
        print(f"Warning: {message}", file=sys.stderr)
    else:
        others(message, category, *where)


def main() -> None:
    """Entry point of the `linbp` command."""
    if (empty := _empty(sys.argv[1:])) is not None:
        print(f"Error: {empty} is empty.", "Hint: Is a variable of the shell not set?", sep="\n", file=sys.stderr)
        sys.exit(2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", LinbpWarning)
            warnings.showwarning = partial(_show_warning, warnings.showwarning)
            sys.exit(app(standalone_mode=False) or 0)
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help
            error.show()  # type: ignore[attr-defined]
        else:
            print(*usage_lines(error), sep="\n", file=sys.stderr)
        sys.exit(2)
    except typer.Abort:
        sys.exit(1)
