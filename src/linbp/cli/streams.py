"""Standard output for data alone: what anybody else prints meanwhile goes to standard error."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from typing import TextIO

__all__ = ["data_alone", "data_stream", "is_standard_output", "write_data"]

_streams: list[TextIO] = []
"""Where data go while `data_alone` holds standard output."""


def data_stream() -> TextIO:
    """Where data for machines are written: standard output, also while others are kept away from it."""
    return _streams[-1] if _streams else sys.stdout


def write_data(content: bytes) -> None:
    """Write the bytes of a file to standard output."""
    stream = data_stream()
    stream.flush()
    buffer = getattr(stream, "buffer", None)
    if buffer is None:  # a stream of text that takes standard output's place
        stream.write(content.decode(errors="backslashreplace"))
    else:
        buffer.write(content)
    stream.flush()


def is_standard_output(path: str | os.PathLike[str] | None) -> bool:
    """Whether a file's name stands for standard output."""
    return path is not None and str(path) in ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


@contextlib.contextmanager
def data_alone() -> Iterator[None]:
    """Keep standard output for what is written to `data_stream`.

    A network's file may print when it is imported or run, log, draw a bar, start a program or call a library in C that
    prints. All of that goes to standard error, since the process's standard output is standard error meanwhile.
    """
    before = sys.stdout
    if _streams or before is None:  # it is kept already, or closed
        yield
        return
    before.flush()
    number = _descriptor(before)
    stream, kept = before, None
    if number is not None:
        kept = os.dup(number)
        stream = open(os.dup(number), "w", encoding=before.encoding, errors=before.errors)  # noqa: SIM115  # closed below
        os.dup2(_descriptor(sys.stderr) or 2, number)
    _streams.append(stream)
    sys.stdout = sys.stderr
    try:
        yield
        stream.flush()
    finally:
        _streams.pop()
        sys.stdout = before
        if number is not None and kept is not None:
            with contextlib.suppress(OSError):
                before.flush()  # by those who held the stream itself
            _flush_c()
            os.dup2(kept, number)
            os.close(kept)
            with contextlib.suppress(OSError):
                stream.close()  # what could not be written was told when it was flushed


def _descriptor(stream: TextIO | None) -> int | None:
    """The number of a stream's file, if it is one of the operating system's."""
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def _flush_c() -> None:
    """Empty the buffers of C's standard library, whose text would come out on the restored standard output."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)
