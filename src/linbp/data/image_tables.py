"""Images in tables: Parquet files, and data sets that the library `datasets` saved to disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from linbp.data.arrow import arrow_reason
from linbp.data.images import Pixels, decode_image, read_image
from linbp.errors import ImageError, nearest_name

__all__ = ["TableImage", "read_image_table"]

LISTED = 200
"""Rows that are read at a time: encoded images are large."""


@dataclass(frozen=True)
class TableImage:
    """One row of a table.

    Attributes:
        image_id: its name, or the row's number in the whole table.
        label: its class, counted from 0.
        where: the place, for messages.
        content: the encoded image, or the path of its file.
    """

    image_id: str
    label: int
    where: str
    content: bytes | Path

    def pixels(self) -> Pixels:
        """The decoded image (height, width, 3), uint8.

        Raises:
            ImageError: it cannot be decoded.
        """
        if isinstance(self.content, Path):
            return read_image(self.content)
        return decode_image(self.content, self.where)


def read_image_table(
    path: str | os.PathLike[str],
    kind: Literal["parquet", "huggingface"],
    *,
    split: str | None = None,
    image: str = "image",
    label: str = "label",
    image_id: str | None = None,
) -> Iterator[TableImage]:
    """The rows of a table of images, one after the other; images are not decoded yet.

    Args:
        path: a Parquet file or a folder of them; or the folder that `Dataset.save_to_disk` wrote.
        kind: which of them.
        split: of a saved DatasetDict; of Parquet files, those whose name starts with it.
        image: the column of images: encoded bytes, or structs with `bytes` or `path`.
        label: the column of whole numbers from 0.
        image_id: a column of names.

    Raises:
        ImageError: there is no such table or column, or a row holds no image or no label.
    """
    place = Path(path)
    if not place.exists():
        raise ImageError(f"{place} does not exist.", "Give a Parquet file, or the folder of a data set.")
    files = _parquet_files(place, split) if kind == "parquet" else _saved_files(place, split)
    number = 0
    for file in files:
        for rows in _batches(file, kind, [image, label, *([image_id] if image_id else [])]):
            for row in rows:
                where = f"row {number} of {file}"
                yield TableImage(
                    image_id=str(row[image_id]) if image_id else f"{number:06}",
                    label=_label(row[label], where),
                    where=where,
                    content=_content(row[image], file, where),
                )
                number += 1


def _parquet_files(place: Path, split: str | None) -> list[Path]:
    if place.is_file():
        return [place]
    files = sorted(place.rglob("*.parquet"))
    chosen = [file for file in files if split is None or file.name.startswith(split)]
    if not chosen:
        which = f" whose name starts with {split}" if split and files else ""
        raise ImageError(f"{place} holds no Parquet file{which}.", "Give a folder of files *.parquet, or one of them.")
    return chosen


def _saved_files(place: Path, split: str | None) -> list[Path]:
    """The Arrow files of a saved Dataset, or of one split of a saved DatasetDict."""
    if (place / "dataset_dict.json").is_file():
        splits = [str(name) for name in _json(place / "dataset_dict.json").get("splits", [])]
        if split not in splits:
            what = "Name a split" if split is None else nearest_name(split, splits)
            raise ImageError(f"{place} has the splits {', '.join(splits)}, not {split}.", f"{what.rstrip('.')}.")
        place = place / str(split)
    elif split is not None:
        raise ImageError(f"{place} has no splits.", "Leave split out.")
    if not (place / "state.json").is_file():
        raise ImageError(f"{place} is no data set that save_to_disk wrote: it has no state.json.", "Check the path.")
    state = _json(place / "state.json")
    if state.get("_indices_files"):
        raise ImageError(
            f"{place} is a selection of another data set.", "Call flatten_indices() before save_to_disk()."
        )
    return [place / str(entry["filename"]) for entry in state.get("_data_files", [])]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be read: {error}.", "Save the data set again.") from error
    return found if isinstance(found, dict) else {}


def _batches(file: Path, kind: str, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        if kind == "parquet":
            source: Any = pq.ParquetFile(file)
            names = source.schema_arrow.names
            batches = source.iter_batches(batch_size=LISTED, columns=[name for name in columns if name in names])
        else:
            source = pa.ipc.open_stream(pa.memory_map(os.fspath(file)))
            names, batches = source.schema.names, source
        for name in columns:
            if name not in names:
                raise ImageError(f"{file} has no column {name!r}.", nearest_name(name, names))
        for batch in batches:
            for start in range(0, batch.num_rows, LISTED):
                yield batch.select(columns).slice(start, LISTED).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise ImageError(f"{file} cannot be read: {arrow_reason(error)}.", "Fetch or write it again.") from error


def _label(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ImageError(
            f"The label of {where} is {value!r}.", "Labels are whole numbers from 0, such as datasets' ClassLabel."
        )
    return value


def _content(value: Any, file: Path, where: str) -> bytes | Path:
    if isinstance(value, dict):
        if isinstance(value.get("bytes"), bytes):
            return bytes(value["bytes"])
        if value.get("path"):
            return file.parent / str(value["path"])
    if isinstance(value, bytes):
        return value
    raise ImageError(f"{where} holds no image.", "A column of images has encoded bytes, or structs with bytes or path.")
