"""A victim's answers to the images of a shard: which pixels it was asked about, and what it predicted."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from linbp.bench.table import parquet_bytes

__all__ = ["Answers"]

CLASSES, FILE = b"linbp.classes", b"linbp.file"


@dataclass(frozen=True)
class Answers:
    """A victim's answers.

    Attributes:
        pixels: SHA-256 of each image that it was asked about.
        predictions: its class for each, int64 (N,).
        classes: how many it has.
    """

    pixels: tuple[str, ...]
    predictions: npt.NDArray[np.int64]
    classes: int

    def to_bytes(self, name: str) -> bytes:
        """A Parquet file.

        Args:
            name: of the file, which says whose answers they are.
        """
        table = pa.table(
            {
                "pixels": pa.array([bytes.fromhex(one) for one in self.pixels], pa.binary(32)),
                "prediction": pa.array(self.predictions, pa.int32()),
            }
        )
        return parquet_bytes(table.replace_schema_metadata({CLASSES: str(self.classes), FILE: name}))

    @classmethod
    def read(cls, content: bytes | None, name: str, asked: Sequence[str] | None) -> Answers | None:
        """The answers in a file.

        Args:
            content: of the file, or None.
            name: of the file.
            asked: the pixels that are asked about; None where the name says them.

        Returns:
            None if there is no file, or it is not whole, or it was written under another name or for other images.
        """
        if content is None:
            return None
        try:
            table = pq.read_table(io.BytesIO(content), page_checksum_verification=True, use_threads=False)
            pixels = tuple(one.hex() for one in table["pixels"].to_pylist())
            predictions = table["prediction"].to_numpy().astype(np.int64)
            classes, own_name = int(table.schema.metadata[CLASSES]), table.schema.metadata[FILE].decode()
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
            return None
        whole = own_name == name and (asked is None or pixels == tuple(asked))
        return cls(pixels, predictions, classes) if whole else None
