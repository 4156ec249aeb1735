"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "BatchSize",
    "ClassesFile",
    "Debug",
    "Device",
    "Json",
    "MovedData",
    "Threads",
    "command_line",
    "read_classes",
    "usable_device",
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines, and nothing else, on standard output.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Device = Annotated[
    str | None,
    typer.Option("--device", help="Where networks run: cpu, cuda, cuda:1, mps. Default: cpu.", metavar="NAME"),
]
MovedData = Annotated[
    Path | None,
    typer.Option("--data", metavar="FOLDER_OR_CSV", help="The clean images, if they were moved since linbp craft."),
]
ClassesFile = Annotated[
    Path | None,
    typer.Option(
        "--classes",
        metavar="FILE",
        help="Names of the network's classes in their order, for lists and folders that name them: one name a line, "
        "JSON or CSV. Default: the network's own names.",
    ),
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images per batch; on a GPU, take as many as fit.")]
Threads = Annotated[
    int, typer.Option("--threads", min=1, help="Threads that decode images; results do not depend on it.")
]


def command_line() -> str:
    """The command line as the user typed it, for the records."""
    name = Path(sys.argv[0]).name
    return shlex.join(["linbp" if name == "__main__.py" else name, *sys.argv[1:]])  # python -m linbp.cli


def read_classes(path: Path | None) -> tuple[str, ...] | None:
    """The names in a file of classes; None without one.

    Raises:
        ImageError: it names none.
    """
    from linbp.data.class_file import read_class_names

    return None if path is None else read_class_names(path)


def usable_device(name: str | None) -> str | None:
    """`name` if networks can run there.

    Raises:
        ModelError: PyTorch has no such device here.
    """
    from linbp.models import device

    return None if name is None else device.usable_device(name)
