"""Turns errors into two lines for people and an exit status for machines."""

from __future__ import annotations

import contextlib
import errno
import functools
import sys
import traceback
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import typer

from linbp.cli.streams import data_alone, is_standard_output
from linbp.errors import LinbpError, SuiteError

__all__ = ["Interrupted", "UsageError", "guard", "usage_lines"]

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

EXIT_UNEXPECTED, EXIT_FAULT, EXIT_INTERRUPTED = 1, 2, 130

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""What typer raises for a wrong command line. It exports only subclasses of this class."""

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


OS_HINTS = {
    errno.EMFILE: "Raise the limit on open files (see ulimit -n), or use fewer --threads.",
    errno.ENAMETOOLONG: "Give a shorter name.",
}


class Interrupted(Exception):
    """Ctrl-C, with one line that says what is kept and how to resume."""


def guard(command: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Decorator of a command that turns errors into lines for people and an exit status for machines.

    A `LinbpError` gives two lines and status 2, Ctrl-C one line and 130, anything else one line and 1. The traceback is
    shown with `--debug` only. With `--json`, or `--csv -`, nothing but the data reaches standard output.
    """

    @functools.wraps(command)
    def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        csv: Any = kwargs.get("csv")
        data = kwargs.get("json") or is_standard_output(csv)
        try:
            with data_alone() if data else contextlib.nullcontext():
                return command(*args, **kwargs)
        except (BrokenPipeError, typer.Exit, typer.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:
            if kwargs.get("debug"):
                traceback.print_exc()
            lines, status = _explain(error)
            for line in lines:
                print(" ".join(line.split()), file=sys.stderr)
            raise typer.Exit(status) from None

    return guarded


def _explain(error: BaseException) -> tuple[list[str], int]:
    """Lines for people and the exit status."""
    if isinstance(error, LinbpError):
        faults = error.faults if isinstance(error, SuiteError) else (error,)
        lines = [[f"Error: {fault.message}", *([f"Hint: {fault.hint}"] if fault.hint else [])] for fault in faults]
        return [line for pair in lines for line in pair], EXIT_FAULT
    if isinstance(error, Interrupted):
        return [f"Interrupted: {error}"], EXIT_INTERRUPTED
    if isinstance(error, KeyboardInterrupt):
        return ["Interrupted: nothing was written. Start the same command again."], EXIT_INTERRUPTED
    # torch.OutOfMemoryError is compared by name, so that torch need not be imported for --help.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return [
            "Error: Out of memory.",
            "Hint: Use a smaller --batch-size; finished images are kept.",
        ], EXIT_FAULT
    if isinstance(error, OSError) and error.errno in DISK:  # for files this is a StoreError already
        from linbp.data.files import store_error

        return _explain(store_error(error.filename or "Standard output", error))
    if isinstance(error, OSError):  # whatever else the operating system refuses is no fault of linbp's
        about = f": {error.filename}" if error.filename else ""
        hint = OS_HINTS.get(error.errno or 0, "Check that path, and its permissions.")
        return [f"Error: {error.strerror or error}{about}.", f"Hint: {hint}"], EXIT_FAULT
    what = f"{type(error).__name__}: {error}".strip().splitlines()[0].rstrip(".: ")
    return [f"Error: unexpected {what}. Run again with --debug to see where, and please report it."], EXIT_UNEXPECTED


def usage_lines(error: Any) -> list[str]:
    """Lines for people about a `UsageError`, a wrong command line."""
    command = "linbp" if error.ctx is None else error.ctx.command_path
    suggestions = getattr(error, "possibilities", None)
    # Suggested names belong in the hint; the formatted message, which names the parameter, would repeat them.
    message = error.message if suggestions else error.format_message()
    hint = f"Did you mean {' or '.join(sorted(suggestions))}? " if suggestions else ""
    return [f"Error: {' '.join(message.split())}", f"Hint: {hint}{command} --help tells what it takes."]
