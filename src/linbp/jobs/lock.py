"""One process at a time writes a folder of results."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from linbp.data.files import store_error
from linbp.errors import StoreError

__all__ = ["LOCK", "locked"]

LOCK = ".lock"
"""The file that is locked."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder so that no second process writes it; without effect where files cannot be locked.

    Raises:
        StoreError: another process has locked it, or the folder cannot be written.
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
        # Whoever wrote nothing may delete this file: then a third process would lock a new one and see no lock.
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
            raise StoreError(f"Another process has just released {folder}.", "Run the same command again.")
        yield
