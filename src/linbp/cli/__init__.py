"""The command line, one file a command."""

from __future__ import annotations

import io
import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Entry point of the `linbp` command. Ctrl-C gives one line while it is still loading, too.

    SIGTERM, which schedulers send when a job's time is up, is taken for Ctrl-C.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may hold bytes that no encoding has
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from linbp.cli.app import main as run

        run()
    except KeyboardInterrupt:
        print("Interrupted: nothing was started.", file=sys.stderr)
        sys.exit(130)
