"""The command line, one file per command."""

from __future__ import annotations

import io
import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Entry point of the `linbp` command. Ctrl-C prints one line, also while the command is still loading.

    SIGTERM, which schedulers send when a job's time is up, is treated as Ctrl-C.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names may hold bytes that are valid in no encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from linbp.cli.app import main as run

        run()
    except KeyboardInterrupt:
        print("Interrupted: nothing was started.", file=sys.stderr)
        sys.exit(130)
