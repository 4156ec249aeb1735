"""Tables of results from the lines of the first edition's scripts.

The tables `cifar10` and `cifar10-wide` were made by a script beside this one, which is in this repository's history:
`git log --diff-filter=D -p -- experiments/take_over/cifar10.py`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from linbp.bench.table import COLUMNS, VERSION, WORDS
from linbp.data.files import write_atomically

RESULTS = Path(__file__).parents[1] / "results"
Part = dict[str, Any]
"""Rows of one attack, victim and piece of the images: a column has one value for all of them, or an array."""

MORE = {
    "loss": (pa.float64(), "the victim's mean cross-entropy over the images of the same piece, after the attack"),
    "clean_loss": (pa.float64(), "the victim's mean cross-entropy over all selected images, before the attack"),
    "levels": (pa.float64(), "mean absolute change of a channel of a pixel over the piece, in levels; null: not kept"),
    "piece": (pa.int32(), "which images were attacked together"),
    "device": (WORDS, "where the attack ran"),
    "torch": (WORDS, "its version; null: not kept"),
    "linbp": (WORDS, "its version; null: not kept"),
    "pixels": (WORDS, "SHA-256 of the piece's adversarial pixels"),
}
"""Columns besides those of a table of results."""


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file."""
    return [json.loads(text) for text in path.read_text().splitlines()]


def part(line: dict[str, Any], ids: list[str], key: str, eps: str, **columns: Any) -> Part:
    """Rows of an attack (its content address, its radius as text), with what all lines say in the same words."""
    return {
        "image_id": np.array(ids),
        "file": np.array([f"{one}.png" for one in ids]),
        "attack": key,
        "attack_key": key,
        "norm": "linf",
        "eps": float(Fraction(eps)),
        "eps_text": eps,
        "seed": 0,
        "notes": None,
        "device": line.get("device", "cpu"),
        "torch": line.get("torch"),
        "linbp": line.get("linbp"),
        "pixels": line.get("sha256"),
        **columns,
    }


def save(name: str, parts: list[Part], facts: Mapping[str, Any]) -> None:
    """Write a study's table, sorted by surrogate and attack, with the columns that its parts have, and some facts."""
    parts = sorted(parts, key=lambda part: (part["surrogate"], part["attack_key"], part["piece"]))
    kinds = {name: one for name, one in (COLUMNS | MORE).items() if name in parts[0]}
    sizes = [len(part["label"]) for part in parts]
    arrays = [column([part[name] for part in parts], sizes, kind) for name, (kind, _) in kinds.items()]
    fields = [pa.field(name, kind, metadata={"description": about}) for name, (kind, about) in kinds.items()]
    said = {f"linbp.{name}": json.dumps(value) for name, value in facts.items()}
    schema = pa.schema(fields, metadata={"linbp.version": VERSION, **said})
    write_atomically(RESULTS / f"{name}.parquet", compressed(pa.Table.from_arrays(arrays, schema=schema)))


def column(parts: Sequence[Any], sizes: Sequence[int], kind: pa.DataType) -> pa.Array:
    """A column from its parts, each an array or one value for all rows of the part."""
    rows = [np.broadcast_to(np.array(part, dtype=object), size) for part, size in zip(parts, sizes, strict=True)]
    found = pa.array(np.concatenate(rows), pa.string() if kind == WORDS else kind)
    return found.dictionary_encode() if kind == WORDS else found


def compressed(found: pa.Table, rows: int = 1 << 17) -> bytes:
    """A Parquet file in small groups of rows, each with its own words: a reader of one surrogate skips the others."""
    file = io.BytesIO()
    with pq.ParquetWriter(file, found.schema, compression="zstd", compression_level=9) as writer:
        for first in range(0, len(found), rows):
            part = found.slice(first, rows)
            columns = [
                one.cast(pa.string()).combine_chunks().dictionary_encode().cast(WORDS) if one.type == WORDS else one
                for one in part.columns
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=found.schema))
    return file.getvalue()
