"""A first look: what networks make of a few clean images, before anything is planned on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from linbp.bench.clean_images import Entry, list_entries
from linbp.bench.networks import Network
from linbp.bench.suite_data import Data, TableData
from linbp.data.image_record import ImageRecord
from linbp.data.images import Pixels, size_batches
from linbp.data.labels import spread
from linbp.errors import ImageError
from linbp.evaluation.answers import answers_of
from linbp.evaluation.statistics import Rate, rate

__all__ = ["LOOKED_AT", "Look", "Sample", "look_at", "sample_of"]

LOOKED_AT = 32
"""How many images a network is asked about before it is chosen."""

BATCH = 16


@dataclasses.dataclass(frozen=True)
class Sample:
    """Some of the clean images, spread over the list.

    Attributes:
        records: their entries, with labels.
        pixels: (H, W, 3) each.
    """

    records: tuple[ImageRecord, ...]
    pixels: tuple[Pixels, ...]

    @property
    def labels(self) -> list[int]:
        """Their classes, counted from 0."""
        return [-1 if record.label is None else record.label for record in self.records]


@dataclasses.dataclass(frozen=True)
class Look:
    """What a network makes of a sample.

    Attributes:
        classes: how many it has.
        predictions: of the images.
        right: how many are the label.
    """

    classes: int
    predictions: tuple[int, ...]
    right: Rate

    @property
    def knows_the_classes(self) -> bool:
        """Whether it has more of the images right than one whose classes are others would by chance."""
        return self.right.low > max(0.1, 2 / self.classes)


def sample_of(data: Data) -> Sample:
    """Some images of a suite's data, spread over the list; of a table, which is read row by row, the first ones.

    Raises:
        ImageError: there are no images, one cannot be read, or one has no label.
    """
    listed: Iterable[Entry] = list_entries(data, Path()).entries
    entries = list(islice(listed, LOOKED_AT) if isinstance(data, TableData) else listed)
    if not entries:
        raise ImageError("The data hold no images.", "Give at least one.")
    unlabelled = next((one.record for one in entries if one.record.label is None), None)
    if unlabelled is not None:
        raise ImageError(
            f"Image {unlabelled.image_id!r} has no label.",
            "An audit counts the images that the model gets right: give labels in a CSV, or one sub-folder for each "
            "class.",
        )
    chosen = [entries[row] for row in spread(len(entries), LOOKED_AT)]
    return Sample(tuple(one.record for one in chosen), tuple(one.pixels() for one in chosen))


def look_at(network: Network, sample: Sample) -> Look:
    """Ask a network about a sample.

    Raises:
        ModelError: it fails.
    """
    batches = size_batches([pixels.shape[:2] for pixels in sample.pixels], BATCH)
    found = answers_of(network, (np.stack([sample.pixels[row] for row in batch]) for batch in batches))
    predictions = np.empty_like(found.predictions)
    predictions[[row for batch in batches for row in batch]] = found.predictions
    return Look(found.classes, tuple(predictions.tolist()), _right(sample.labels, predictions.tolist()))


def _right(labels: Sequence[int], predictions: Sequence[int]) -> Rate:
    return rate(sum(map(int.__eq__, labels, predictions)), len(labels))
