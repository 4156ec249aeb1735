"""The folder of a resumable job: whole files are replaced atomically, and files of something else are refused."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch

from linbp.data.files import MANIFEST, json_bytes, store_error, write_atomically
from linbp.errors import StoreError
from linbp.jobs.lock import LOCK, locked

__all__ = ["CHECKPOINT", "JobFolder", "serialized"]

CHECKPOINT = "checkpoint.pt"

Thing = TypeVar("Thing")


class JobFolder:
    """The folder of one job, with `manifest.json` (what made it) or `checkpoint.pt` (where it stands), or both.

    Each kind of job has a class of its own, which says what is special about it.

    Args:
        path: the folder; it need not be there.

    Raises:
        StoreError: its name is empty. From every method: the disk is full, the folder cannot be written, or a file is
            broken or that of another kind of job; whatever was there before still is.
    """

    COMMAND: ClassVar[str]
    """What writes such folders, for messages."""
    LAYOUT: ClassVar[Any]
    """Kind and version of the files' layout: `format` in the manifest and in the checkpoint."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not os.fspath(path):
            raise StoreError("The name of the folder is empty.", "Name one, or write . for this one.")
        self.path = Path(path)
        self.marks: tuple[str, ...] = (MANIFEST,)
        """Files of which one is there as soon as the job has written anything worth keeping."""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, lock it against other processes, and delete what a killed run left half-written.

        A job that ends before it wrote anything leaves nothing behind: neither the lock's file nor a folder that was
        made for it. A folder that holds files of something else is refused.
        """
        made = self._create()
        with locked(self.path):
            try:
                for left_over in self.path.glob(".*.tmp"):
                    left_over.unlink(missing_ok=True)
                yield
            finally:
                if not self._is_marked():
                    with contextlib.suppress(OSError):
                        # Under the lock still: whoever waits for this file finds that it is gone.
                        (self.path / LOCK).unlink(missing_ok=True)
                        for folder in made:
                            folder.rmdir()

    def _create(self) -> list[Path]:
        """Make the folder; which folders had to be made, the deepest first."""
        try:
            made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
            self.path.mkdir(parents=True, exist_ok=True)
            entries = sorted(entry.name for entry in self.path.iterdir() if not entry.name.startswith("."))
        except OSError as error:
            raise store_error(self.path, error) from error
        if entries and not self._is_marked():
            raise StoreError(
                f"{self.path} is not empty and holds no {' and no '.join(self.marks)} (but {entries[0]}).",
                f"Choose a new folder (--out): what {self.COMMAND} writes must not be mixed with other files.",
            )
        return made

    def _is_marked(self) -> bool:
        return any((self.path / name).exists() for name in self.marks)

    def read_manifest(self) -> dict[str, Any] | None:
        """The manifest without its `format`; None if there is none."""
        manifest = self._read_json(self.path / MANIFEST)
        if manifest is not None and manifest.pop("format", None) != self.LAYOUT:
            raise StoreError(
                f"{self.path} holds another job: {self.COMMAND} did not write its {MANIFEST}, or another version did.",
                "Choose another folder for this job.",
            )
        return manifest

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace the manifest."""
        self.write(MANIFEST, json_bytes({"format": self.LAYOUT, **manifest}, indent=2))

    def read_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint without its `format`, on the CPU; None if there is none."""
        path, again = self.path / CHECKPOINT, "Delete it to start again from the beginning."
        if not path.is_file():
            return None
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        # torch.load raises many types of exceptions on damaged files.
        except Exception as error:
            raise StoreError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}.", again) from error
        if not isinstance(found, dict) or found.pop("format", None) != self.LAYOUT:
            raise StoreError(f"{path} is no checkpoint of {self.COMMAND}, or one of another version.", again)
        return found

    def write_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint."""
        self.write(CHECKPOINT, serialized(torch.save, {"format": self.LAYOUT, **state}))

    def drop_checkpoint(self) -> None:
        """Delete the checkpoint of a finished job."""
        (self.path / CHECKPOINT).unlink(missing_ok=True)

    def write(self, name: str, content: bytes) -> Path:
        """Write a file atomically and return its path."""
        write_atomically(self.path / name, content)
        return self.path / name

    def _read_json(self, path: Path) -> dict[str, Any] | None:
        """One JSON object; None if there is no such file."""
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except NotADirectoryError as error:
            raise store_error(self.path, error) from error
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read: {error}.", "Choose another folder for this job.") from error
        if not isinstance(found, dict):
            raise StoreError(f"{path} was not written by {self.COMMAND}.", "Choose another folder for this job.")
        return found


def serialized(save: Callable[[Thing, io.BytesIO], None], thing: Thing) -> bytes:
    """What `save` writes of `thing`; a KeyboardInterrupt that torch wrapped in another error is raised again."""
    buffer = io.BytesIO()
    try:
        save(thing, buffer)
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            cause = cause.__cause__ or cause.__context__
        raise
    return buffer.getvalue()
