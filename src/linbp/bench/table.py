"""The table of a run's results: one row for each image, surrogate, recipe, radius and victim."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from linbp.data.arrow import arrow_reason
from linbp.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["RESULTS", "SCHEMA", "check_schema", "parquet_bytes", "read_results", "results_bytes"]

RESULTS = "results.parquet"
"""The name of the table's file in the folder of a run."""

VERSION = "1"
"""Of the columns below; a table of another version is refused."""

WORDS = pa.dictionary(pa.int32(), pa.string())
"""Text that many rows share: stored once, and a number in each row."""

COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "image_id": (WORDS, "the image's name"),
    "file": (WORDS, "the clean image's file; relative to the folder of the run where it lies in it"),
    "label": (pa.int32(), "its class, counted from 0"),
    "target": (pa.int32(), "the class that a targeted attack aims at; null if untargeted"),
    "surrogate": (WORDS, "the surrogate's name in the suite"),
    "surrogate_model": (WORDS, "its network, or those of an ensemble with + between them"),
    "surrogate_key": (WORDS, "content address of its weights, rules and preprocessing"),
    "rule": (WORDS, "its own backward rule as text; empty without one. A recipe may name a rule too"),
    "recipe": (WORDS, "the recipe's name in the suite"),
    "recipe_text": (WORDS, "the recipe as the suite has it"),
    "attack": (WORDS, "folder of the adversarial images, under attacks/"),
    "attack_key": (WORDS, "content address of the attack: all that determines its pixels but the images"),
    "protocol": (WORDS, "the published protocol; null without one"),
    "norm": (WORDS, "linf or l2"),
    "eps": (pa.float64(), "radius on the scale of [0, 1]"),
    "eps_text": (WORDS, "the radius as the suite has it, such as 8/255"),
    "steps": (pa.int32(), "of the attack"),
    "step_size": (pa.float64(), "of the last stage, on the scale of [0, 1]"),
    "gradients": (pa.int32(), "gradients per image: the attack's cost"),
    "seed": (pa.int64(), "of all randomness"),
    "victim": (WORDS, "the victim's name in the suite"),
    "victim_model": (WORDS, "its network"),
    "victim_key": (WORDS, "content address of its weights and preprocessing"),
    "preprocessing": (WORDS, "what was done to images before the victim got them"),
    "white_box": (pa.bool_(), "whether the victim has the weights of the surrogate, or of one of its members"),
    "surrogate_clean": (pa.int32(), "the surrogate's prediction of the clean image"),
    "surrogate_adv": (pa.int32(), "the surrogate's prediction of the adversarial image"),
    "clean_prediction": (pa.int32(), "the victim's prediction of the clean image; -2: it gave no answer"),
    "adv_prediction": (pa.int32(), "the victim's prediction of the adversarial image; -2: it gave no answer"),
    "selected": (pa.bool_(), "whether the suite's selection counts the image here"),
    "success": (
        pa.bool_(),
        "whether the attack succeeded: wrong, or taken for the target; null where it cannot be counted, because the "
        "victim has the clean image wrong, or the target is the label",
    ),
    "linf": (pa.int32(), "largest difference of a channel of a pixel, in levels (0 to 255)"),
    "l2": (pa.float64(), "Euclidean norm of the difference, with images in [0, 1]"),
    "notes": (WORDS, "what is to be kept in mind of the attack; null without"),
}
"""Type and meaning of each column. The success rate of any group of rows is the mean of `success` where it is not null
and `selected` is true; the rows counted are its n."""

NULLABLE = frozenset({"target", "protocol", "success", "notes"})

SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=name in NULLABLE, metadata={"description": meaning})
        for name, (kind, meaning) in COLUMNS.items()
    ]
)
"""The columns of a table of results."""


def results_bytes(table: pa.Table, facts: Mapping[str, str] | None = None) -> bytes:
    """A table of results as a Parquet file; the same rows and facts give the same bytes.

    Args:
        table: with the columns of `SCHEMA`.
        facts: what the file says of itself besides, such as the suite's name; read back from `table.schema.metadata`
            under `linbp.NAME`.
    """
    about = {f"linbp.{name}": text for name, text in {"version": VERSION, **(facts or {})}.items()}
    return parquet_bytes(table.cast(SCHEMA).replace_schema_metadata(about))


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as a Parquet file, compressed, with a checksum for each page."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def read_results(source: str | os.PathLike[str] | bytes | BinaryIO, where: str = "The table of results") -> pa.Table:
    """The table of results in a file; its facts stand in the schema's metadata.

    Args:
        source: `results.parquet`, the folder of a run, or the file's content.
        where: what messages call a file that is given by its content.

    Raises:
        StoreError: there is none, it cannot be read, or another version wrote it.
    """
    if isinstance(source, str | os.PathLike):
        where = os.path.join(source, RESULTS) if os.path.isdir(source) else os.fspath(source)
        source = where
    try:
        table = pq.read_table(
            io.BytesIO(source) if isinstance(source, bytes) else source, page_checksum_verification=True
        )
    except FileNotFoundError:
        raise StoreError(f"{where} does not exist.", "Give the folder of a finished linbp bench.") from None
    except (OSError, pa.ArrowException) as error:
        raise StoreError(
            f"{where} cannot be read as Parquet: {arrow_reason(error)}.",
            "Run linbp bench again with the same folder: it writes the table anew.",
        ) from error
    return check_schema(table, where)


def check_schema(table: pa.Table, where: str | Path) -> pa.Table:
    """The table with the columns in their order and of their types.

    Raises:
        StoreError: it is no table of results, or one of another version.
    """
    facts = table.schema.metadata or {}
    version = facts.get(b"linbp.version", b"none").decode()
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if version != VERSION or missing:
        why = f"it lacks the column {missing[0]}" if missing else f"its version is {version}, not {VERSION}"
        raise StoreError(
            f"{where} is no table of results of this version of linbp: {why}.", "Run linbp bench again with its suite."
        )
    return table.select(SCHEMA.names).cast(SCHEMA.with_metadata(facts))


def facts_of(table: pa.Table) -> dict[str, Any]:
    """What a table of results says of itself, without the prefix `linbp.`."""
    found = {name.decode(): text.decode() for name, text in (table.schema.metadata or {}).items()}
    return {name.removeprefix("linbp."): text for name, text in found.items() if name.startswith("linbp.")}
