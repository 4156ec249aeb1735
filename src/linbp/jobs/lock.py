"""One process at a time writes a folder of results."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from linbp.data.images import store_error
from linbp.errors import StoreError

__all__ = ["LOCK", "locked"]

LOCK = ".lock"
"""The file that is locked."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder so that no second process writes it; without effect where files cannot be locked.

    Raises:
        StoreError: another process holds it, or the folder cannot be written.
    """
    try:
        import fcntl
    except ImportError:  # Windows has none
        yield
        return
    path = folder / LOCK
    try:
        file = path.open("ab")
    except OSError as error:
        raise store_error(folder, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"Another process is writing {folder}.", "Wait for it to end, or choose another folder."
            ) from None
        except OSError:
            pass  # some network file systems cannot lock
        # Whoever wrote nothing may take its file away: then this one holds nothing that a third process would see.
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
            raise StoreError(f"Another process has just written {folder}.", "Run the same command again.")
        yield
