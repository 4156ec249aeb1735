"""The table of results at a place: the folder of a run, local or behind an fsspec URL, or a Parquet file alone."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]

from linbp.bench.store import Store, open_store
from linbp.bench.table import RESULTS, read_results
from linbp.errors import StoreError

__all__ = ["results_at"]


def results_at(place: str | os.PathLike[str]) -> tuple[Store, pa.Table]:
    """The store that a table of results lies in, and the table.

    Args:
        place: the folder of a run, an fsspec URL of one, or a file `*.parquet` of either kind.

    Raises:
        StoreError: there is no table of results, or it cannot be read.
    """
    given = os.fspath(place)
    folder, name = given, RESULTS
    if given.endswith(".parquet") and not Path(given).is_dir():
        folder, _, name = given.rpartition("/")
    store = open_store(folder or ".")
    content = store.read(name)
    if content is None:
        missing = name != RESULTS or folder != given or ("://" not in given and not os.path.exists(given))
        raise StoreError(
            f"{given} does not exist." if missing else f"{given} holds no {RESULTS}.",
            "Give the folder of linbp bench, or a table of results. Folders of linbp craft: linbp evaluate.",
        )
    return store, read_results(content, store.place(name))
