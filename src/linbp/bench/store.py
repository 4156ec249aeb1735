"""Where a run lies: a folder, or an object store behind an fsspec URL. A file is there whole, or not at all."""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Protocol

from linbp.data.files import store_error, write_atomically
from linbp.errors import StoreError

__all__ = ["LocalStore", "RemoteStore", "Store", "open_store"]

OLD = 24 * 3600
"""Seconds after which a half-written file belongs to no process any more."""

ATOMIC = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory", "r2"})
"""Protocols whose objects appear whole: others are written beside, and renamed."""


class Store(Protocol):
    """The files of a run by name, such as `answers/x.parquet`.

    Raises:
        StoreError: from every method, where the place cannot be read or written.
    """

    url: str

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is none."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Replace a file at once."""
        ...

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""
        ...

    def exists(self, name: str) -> bool:
        """Whether a file is there."""
        ...

    def names(self, folder: str = "") -> set[str]:
        """The names of all files in a folder and below; hidden ones are left out."""
        ...

    def fetch(self, name: str) -> Path:
        """A file as one of this machine, to be read; it need not be there."""
        ...

    def place(self, name: str) -> str:
        """Where a file lies, for people: its path or its URL."""
        ...

    def free(self) -> int | None:
        """Bytes that are free there; None where nobody knows."""
        ...

    def check_writable(self) -> None:
        """Refuse a place where nothing can be written, without leaving anything there."""
        ...


def open_store(url: str | os.PathLike[str]) -> Store:
    """The store of a path or an fsspec URL, such as `runs/tonight` or `s3://bucket/tonight`.

    Raises:
        StoreError: its name is empty, the protocol's package is missing, or it cannot be reached.
    """
    text = os.fspath(url)
    if not text:
        raise StoreError("The name of the run's folder is empty.", "Name one with --out, such as runs/tonight.")
    protocol, sign, rest = text.partition("://")
    if sign and protocol != "file":
        return RemoteStore(text)
    return LocalStore(Path(rest if sign else text).expanduser())


class LocalStore:
    """A folder of this machine, or one that is mounted."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.url = str(self.path)

    def read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreError(f"{self.path / name} cannot be read: {error.strerror}.", "Check the disk.") from error

    def write(self, name: str, content: bytes) -> None:
        path = self.path / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise store_error(path.parent, error) from error
        write_atomically(path, content)

    def delete(self, name: str) -> None:
        try:
            (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise store_error(self.path / name, error) from error

    def exists(self, name: str) -> bool:
        return (self.path / name).is_file()

    def names(self, folder: str = "") -> set[str]:
        found: set[str] = set()
        for place, folders, files in os.walk(self.path / folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            inside = os.path.relpath(place, self.path)
            prefix = "" if inside == "." else f"{inside.replace(os.sep, '/')}/"
            found.update(prefix + name for name in files if not name.startswith("."))
            for name in files:
                if name.startswith(".") and name.endswith(".tmp"):
                    _drop_if_old(os.path.join(place, name))
        return found

    def fetch(self, name: str) -> Path:
        return self.path / name

    def place(self, name: str) -> str:
        return str(self.path / name)

    def free(self) -> int | None:
        try:
            return shutil.disk_usage(self._existing()).free
        except OSError:
            return None

    def check_writable(self) -> None:
        place = self._existing()
        if not place.is_dir():
            raise store_error(self.path, FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)))
        if not os.access(place, os.W_OK | os.X_OK):
            raise store_error(self.path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))

    def _existing(self) -> Path:
        """The folder, or the one above it that there is."""
        return next(place for place in (self.path, *self.path.parents) if os.path.lexists(place))


def _drop_if_old(path: str) -> None:
    """Delete what a process left half-written that was killed long ago; of a young one the process may still live."""
    with contextlib.suppress(OSError):
        if time.time() - os.stat(path).st_mtime > OLD:
            os.unlink(path)


class RemoteStore:
    """An object store, or another file system behind an fsspec URL."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        protocol = self.url.partition("://")[0]
        self._atomic = protocol in ATOMIC
        self._scratch: str | None = None
        try:
            import fsspec  # type: ignore[import-untyped]

            self._files: Any
            self._files, self._root = fsspec.core.url_to_fs(self.url)
        except ImportError as error:
            extra = " (the extra s3: pip install 'linbp[s3]')" if protocol.startswith("s3") else ""
            raise StoreError(
                f"{self.url} needs a package that is not installed: {error}.", f"Install it{extra}."
            ) from error
        except ValueError as error:
            raise StoreError(
                f"{self.url} is no place that fsspec knows: {error}.", "Give a path, or s3://..."
            ) from error
        with self._told("reached"):
            self._files.exists(self._root)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteStore, (self.url,)

    def read(self, name: str) -> bytes | None:
        with self._told("read"):
            try:
                content: bytes = self._files.cat_file(self._at(name))
            except FileNotFoundError:
                return None
            return content

    def write(self, name: str, content: bytes) -> None:
        place = self._at(name)
        with self._told("written"):
            if self._atomic:
                self._files.pipe_file(place, content)
                return
            folder, _, last = place.rpartition("/")
            beside = f"{folder}/.{last}.{os.getpid()}.tmp"
            self._files.makedirs(folder, exist_ok=True)
            self._files.pipe_file(beside, content)
            self._files.mv(beside, place)

    def delete(self, name: str) -> None:
        with self._told("written"), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._at(name))

    def exists(self, name: str) -> bool:
        with self._told("read"):
            self._files.invalidate_cache()
            return bool(self._files.isfile(self._at(name)))

    def names(self, folder: str = "") -> set[str]:
        with self._told("read"):
            self._files.invalidate_cache()
            found = self._files.find(self._at(folder) if folder else self._root)
        start = len(self._root.rstrip("/")) + 1
        return {name for path in found if not (name := path[start:]).rpartition("/")[2].startswith(".")}

    def fetch(self, name: str) -> Path:
        if self._scratch is None:
            self._scratch = tempfile.mkdtemp(prefix="linbp-")
            atexit.register(shutil.rmtree, self._scratch, ignore_errors=True)
        path = Path(self._scratch) / name
        content = self.read(name)
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return path

    def place(self, name: str) -> str:
        return f"{self.url}/{name}"

    def free(self) -> int | None:
        return None

    def check_writable(self) -> None:
        probe = f".{os.getpid()}.tmp"
        self.write(probe, b"")
        self.delete(probe)

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    @contextlib.contextmanager
    def _told(self, what: str) -> Any:
        try:
            yield
        except StoreError:
            raise
        # Each protocol's client raises exceptions of its own.
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise StoreError(
                f"{self.url} cannot be {what}: {reason}.",
                "Check the address, the rights and the network, and run the same command again: what was finished is "
                "kept.",
            ) from error
