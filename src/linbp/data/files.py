"""Files that are there whole or as they were before, and JSON as their bytes."""

from __future__ import annotations

import errno
import json
import os
import secrets
from pathlib import Path
from typing import Any

from linbp.errors import StoreError

__all__ = ["MANIFEST", "check_place", "json_bytes", "store_error", "write_atomically", "write_file"]

MANIFEST = "manifest.json"
"""The file that says what made a folder."""


def json_bytes(value: Any, *, indent: int | None = None, allow_nan: bool = True) -> bytes:
    """One JSON document and a line's end, in UTF-8.

    A byte of a file's name that is not UTF-8 stands in Python's text as half of a surrogate pair; it is written as
    JSON's escape of that, so that reading gives the same name.

    Raises:
        ValueError: a number is NaN or infinite, and that is not allowed.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=allow_nan)
    return (text + "\n").encode(errors="backslashreplace")


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a whole file by way of a temporary one beside it, so that no reader ever sees half of it.

    Raises:
        StoreError: the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    # Several machines may write the same file, each with a process of the same number.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise store_error(path, error, len(content)) from error


def check_place(path: str | os.PathLike[str]) -> None:
    """Refuse a file that could not be written, before the work whose result it is for.

    Raises:
        StoreError: it is a folder, its folder does not exist, or its name is too long.
    """
    path = Path(path)
    if os.path.isdir(path):
        raise StoreError(f"{path} is a folder.", "Give the name of a file in it.")
    try:
        os.lstat(path)
    except OSError as error:
        if not isinstance(error, FileNotFoundError) or not os.path.isdir(path.parent):
            raise store_error(path, error) from error


def write_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file that a user named: through links, and straight into what is no file, such as a pipe or a device.

    Raises:
        StoreError: it is a folder, the disk is full, or it cannot be written.
    """
    path = Path(path)
    check_place(path)
    place = Path(os.path.realpath(path))
    if place.is_file() or not place.exists():
        write_atomically(place, content)
        return
    try:
        with place.open("wb") as stream:
            stream.write(content)
    except OSError as error:
        raise store_error(path, error) from error


def store_error(path: str | os.PathLike[str], error: OSError, size: int = 0) -> StoreError:
    """What to tell when the operating system refuses to write `path`, a file of `size` bytes."""
    needs = f" {size / 2**20:.1f} MiB are needed." if size > 2**20 else ""
    again = "run the same command again: what was finished is kept."
    refused = "Choose another folder, or change its permissions."
    hints = {
        errno.ENOSPC: f"Free some space and {again}{needs}",
        errno.EDQUOT: f"The quota is used up: free some space and {again}{needs}",
        errno.EFBIG: f"The limit on file sizes is too small (see ulimit -f): raise it and {again}{needs}",
        errno.EACCES: refused,
        errno.EPERM: refused,
        errno.EROFS: "The file system is read-only: choose another folder.",
        errno.ENOENT: "Its folder does not exist, or none can be made there: choose another one.",
        errno.ENOTDIR: "A part of the path is a file: choose another folder.",
        errno.EEXIST: "There is a file of that name: choose another folder.",
        errno.ENAMETOOLONG: "Choose a shorter name.",
        errno.EMFILE: f"Raise the limit on open files (see ulimit -n) and {again}",
        errno.ENFILE: f"Close other programs and {again}",
    }
    hint = hints.get(error.errno or 0, f"Check the disk and {again}")
    return StoreError(f"{path} cannot be written: {error.strerror or error}.", hint)
