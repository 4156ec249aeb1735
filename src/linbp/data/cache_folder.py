"""Where linbp keeps what it need not compute or ask again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """The folder of the cache: `$LINBP_CACHE`, else `linbp` in `$XDG_CACHE_HOME` or in `~/.cache`."""
    chosen = os.environ.get("LINBP_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "linbp"
