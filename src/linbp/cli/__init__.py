"""The command line, one file a command."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Entry point of the `linbp` command. Ctrl-C gives one line while it is still loading, too."""
    try:
        from linbp.cli.app import main as run

        run()
    except KeyboardInterrupt:
        print("Interrupted: nothing was begun.", file=sys.stderr)
        sys.exit(130)
