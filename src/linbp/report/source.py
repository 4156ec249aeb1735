"""Where a report comes from: the folder of a run, local or behind an fsspec URL, or a Parquet file alone."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]

from linbp.bench.results_at import results_at
from linbp.bench.store import Store
from linbp.errors import StoreError

__all__ = ["RunFiles", "Source", "open_source"]

RUN_FACTS, SUITE = "run.json", "suite.toml"


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """The files that a run's table names: those of the run, and those of this machine that lie elsewhere."""

    store: Store

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is none, or it cannot be read."""
        try:
            return Path(name).read_bytes() if os.path.isabs(name) else self.store.read(name)
        except (OSError, StoreError):
            return None


@dataclasses.dataclass(frozen=True)
class Source:
    """What a report is made from.

    Attributes:
        place: what the user gave.
        table: the results.
        files: the pictures.
        facts: what the run says of itself, in words.
        command: what repeats the run; empty if nobody knows.
        class_names: of the labels; may be empty.
    """

    place: str
    table: pa.Table
    files: RunFiles
    facts: Mapping[str, str]
    command: str
    class_names: tuple[str, ...]


def open_source(place: str | os.PathLike[str]) -> Source:
    """Read what a report is made from.

    Args:
        place: the folder of a run, an fsspec URL of one, or a file `*.parquet` of either kind.

    Raises:
        StoreError: there is no table of results, or it cannot be read.
    """
    store, table = results_at(place)
    run = _json(store.read(RUN_FACTS))
    return Source(
        place=os.fspath(place),
        table=table,
        files=RunFiles(store),
        facts=_facts(run),
        command=_command(run, store),
        class_names=tuple(map(str, run.get("class_names", []))),
    )


def _json(content: bytes | None) -> dict[str, Any]:
    """Facts of the run; none where they are missing or broken, since the figures do not depend on them."""
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _facts(run: Mapping[str, Any]) -> dict[str, str]:
    """Date, device, machine and versions of the last run of the folder."""
    last = (run.get("runs") or [{}])[-1]
    versions = last.get("versions", {})
    found = {name: str(last[name]) for name in ("started", "device", "machine") if last.get(name)}
    if versions:
        found["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    return found


def _command(run: Mapping[str, Any], store: Store) -> str:
    """What makes the run again: its suite, which lies in its folder, into a new one."""
    if store.read(SUITE) is not None:
        return shlex.join(["linbp", "bench", store.place(SUITE), "--out", "runs/again"])
    return str((run.get("runs") or [{}])[-1].get("command", ""))
