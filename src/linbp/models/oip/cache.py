"""Answers that are kept on disk, so that no image is asked about twice, and the count of what was asked."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from linbp.data.cache_folder import cache_folder
from linbp.data.files import store_error
from linbp.errors import ModelError, StoreError

__all__ = ["AnswerCache"]

TABLES = (
    "CREATE TABLE IF NOT EXISTS answers "
    "(image BLOB PRIMARY KEY, dtype TEXT NOT NULL, shape TEXT NOT NULL, content BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS claims "
    "(image BLOB PRIMARY KEY, owner TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL, until REAL NOT NULL) "
    "WITHOUT ROWID",
    "INSERT OR IGNORE INTO facts VALUES ('images', 0)",
)

PATIENCE = 60.0
"""Seconds that a process waits for another one, which writes a few milliseconds at a time."""


class AnswerCache:
    """The answers of one model, in one SQLite file: processes may share it, and a kill leaves it whole.

    Args:
        model: its name, for the file's name.
        key: hexadecimal, of all that determines its answers.
        about: for whoever opens the file: plain values, nothing secret.

    Raises:
        StoreError: from every method, where the file cannot be read or written.
    """

    def __init__(self, model: str, key: str, about: Mapping[str, Any]) -> None:
        name = re.sub(r"[^A-Za-z0-9._]+", "-", model).strip("-.")[:40] or "model"
        self.path = cache_folder() / "answers" / f"{name}-{key[:16]}.sqlite"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise store_error(self.path, error) from error
        with self._open() as connection:
            for table in TABLES:
                connection.execute(table)
            connection.execute("INSERT OR REPLACE INTO facts VALUES ('about', ?)", (json.dumps(about),))

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """One transaction, and the file closed behind it: threads and forked processes share no connection."""
        try:
            with (
                contextlib.closing(sqlite3.connect(self.path, timeout=PATIENCE)) as connection,
                connection,
            ):
                yield connection
        except sqlite3.Error as error:
            raise StoreError(
                f"The kept answers in {self.path} cannot be used: {error}.",
                "Check the disk; if the file is broken, delete it: its images are asked about again. "
                "LINBP_CACHE names another folder.",
            ) from error

    def get(self, images: Sequence[bytes]) -> dict[bytes, npt.NDArray[Any]]:
        """The answers that are kept to some images, by their hashes."""
        found = {}
        with self._open() as connection:
            for image in images:
                row = connection.execute(
                    "SELECT dtype, shape, content FROM answers WHERE image = ?", (image,)
                ).fetchone()
                if row is not None:
                    found[image] = np.frombuffer(row[2], dtype=row[0]).reshape(json.loads(row[1]))
        return found

    def claim(self, images: Sequence[bytes], owner: str, seconds: float) -> list[bytes]:
        """Those of some images that nobody has answered or is asking about: they are now the owner's to ask about.

        Args:
            images: their hashes.
            owner: a name that no other question has.
            seconds: after which others may ask about them. On this machine they may as soon as this process has ended.
        """
        now, host, pid = time.time(), socket.gethostname(), os.getpid()
        claimed = []
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            for image in images:
                if connection.execute("SELECT 1 FROM answers WHERE image = ?", (image,)).fetchone():
                    continue
                other = connection.execute("SELECT host, pid, until FROM claims WHERE image = ?", (image,)).fetchone()
                if other is None or other[2] < now or (other[0] == host and not _runs(other[1])):
                    row = (image, owner, host, pid, now + seconds)
                    connection.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?)", row)
                    claimed.append(image)
        return claimed

    def release(self, owner: str) -> None:
        """Give back what is the owner's to ask about, answered or not."""
        with self._open() as connection:
            connection.execute("DELETE FROM claims WHERE owner = ?", (owner,))

    def put(self, answers: Mapping[bytes, npt.NDArray[Any]]) -> None:
        """Keep answers; of an image that has one already, that one stays."""
        rows = [
            (image, answer.dtype.str, json.dumps(answer.shape), np.ascontiguousarray(answer).tobytes())
            for image, answer in answers.items()
        ]
        with self._open() as connection:
            connection.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", rows)

    def spend(self, images: int, budget: int | None, name: str) -> None:
        """Count images that are about to be sent.

        Raises:
            ModelError: they would be more than the budget; nothing is counted.
        """
        with self._open() as connection:
            done = connection.execute(
                "UPDATE facts SET value = value + ? WHERE name = 'images' AND (? IS NULL OR value + ? <= ?)",
                (images, budget, images, budget),
            )
            if done.rowcount:
                return
        raise ModelError(
            f"{name} has been asked about {self.sent} images, and its budget of {budget} allows no {images} more.",
            'Raise "budget" in the JSON file, and run the same command again: what was answered is kept.',
        )

    @property
    def sent(self) -> int:
        """How many images were ever sent, repetitions included."""
        with self._open() as connection:
            (value,) = connection.execute("SELECT value FROM facts WHERE name = 'images'").fetchone()
            return int(value)


def _runs(pid: int) -> bool:
    """Whether a process of this machine runs, as far as that can be known."""
    if os.name == "nt":  # there, a signal of 0 would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
