"""The clean images of a run: listed from any kind of data, and read once before anything is computed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import operator
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from linbp.bench.store import Store
from linbp.bench.suite_data import Cifar10Data, Data, DemoData, FilesData, TableData
from linbp.bench.table import parquet_bytes
from linbp.data.class_file import read_class_names
from linbp.data.image_id import check_ids
from linbp.data.image_list import list_images
from linbp.data.image_record import ImageList, ImageRecord
from linbp.data.image_tables import read_image_table
from linbp.data.images import Pixels, pixel_sha256, png_bytes, read_image
from linbp.data.named_labels import numbered
from linbp.data.preprocessing import Preparation
from linbp.data.unused import Unused
from linbp.errors import ImageError
from linbp.jobs.progress import ProgressCallback

__all__ = [
    "IMAGES",
    "INDEX",
    "CleanImages",
    "Entry",
    "Listing",
    "is_clean_image",
    "list_entries",
    "preparation_key",
    "read_clean",
]

INDEX = "images.parquet"
"""In the folder of a run: what the images were when they were read, so that a later run need not read them again."""

IMAGES = "images/"
"""In the folder of a run: the images that have no files of their own."""

Facts = tuple[int, int, str]
"""Height, width, and SHA-256 of the pixels."""

SAMPLE = 16
"""How many images are kept in memory, for measurements."""


@dataclass(frozen=True)
class Entry:
    """An image of a suite's data.

    Attributes:
        record: its name, label and target, and its file.
        own_file: whether it has a file.
        stamp: changes when the image does; empty where that cannot be told without decoding it.
        pixels: decodes it.
    """

    record: ImageRecord
    own_file: bool
    stamp: str
    pixels: Callable[[], Pixels]


@dataclass(frozen=True)
class Listing:
    """The images of a suite's data, not decoded yet, and what the data hold besides.

    Attributes:
        entries: the images.
        unused: what else there is.
        source, order, classes, notes: of an `ImageList`.
    """

    entries: Iterable[Entry]
    unused: tuple[Unused, ...] = ()
    source: str = ""
    order: tuple[str, ...] = ()
    classes: int | None = None
    notes: tuple[str, ...] = ()

    def numbered(self, names: Sequence[str], network: str, classes: int | None) -> Listing:
        """The images with numbers of a network's classes where the list has words: see `linbp.data.named_labels`.

        Raises:
            ImageError: a word is none of its classes.
        """
        if not isinstance(self.entries, Sequence):  # a table has numbers
            return self
        listed = ImageList((one.record for one in self.entries), order=self.order, classes=self.classes)
        found = numbered(listed, names, network=network, classes=classes)
        entries = [dataclasses.replace(one, record=record) for one, record in zip(self.entries, found, strict=True)]
        return dataclasses.replace(self, entries=entries, classes=found.classes, notes=found.notes)


@dataclass(frozen=True)
class CleanImages:
    """The clean images of a run.

    Attributes:
        records: in their order. The path of an image that has no file of its own is its name in the run's store.
        own_files: whether they have files of their own.
        sizes: (height, width) of each, for each preparation.
        hashes: of the prepared pixels of each, for each preparation.
        sample: the first few, unprepared, for measurements.
        unused: what the data hold besides.
        source: the folder or the CSV; empty for other data.
        notes: what should be known of the labels.
    """

    records: tuple[ImageRecord, ...]
    own_files: bool
    sizes: Mapping[str, tuple[tuple[int, int], ...]]
    hashes: Mapping[str, tuple[str, ...]]
    sample: tuple[Pixels, ...]
    unused: tuple[Unused, ...]
    source: str = ""
    notes: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(record.image_id for record in self.records)


def is_clean_image(name: str) -> bool:
    """Whether a file of a run's folder has the name of a clean image that was written there."""
    return re.fullmatch(rf"{IMAGES}[^/]+-[0-9a-f]{{12}}\.png", name) is not None


def preparation_key(preparation: Preparation | None) -> str:
    """A preparation as text; empty for none."""
    return "" if preparation is None else json.dumps(preparation.to_dict())


def list_entries(data: Data, base: Path) -> Listing:
    """The images of a suite's data, not decoded yet; of a sample, those that are in it.

    Args and errors: as for `_listed`.
    """
    found = _listed(data, base)
    if data.sample is None:
        return found
    names = sorted((entry.record.image_id for entry in found.entries), key=_mixed)
    chosen = set(names[: data.sample])
    again = found if isinstance(found.entries, Sequence) else _listed(data, base)  # a table is read a second time
    return dataclasses.replace(again, entries=[one for one in again.entries if one.record.image_id in chosen])


def _mixed(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()


def _listed(data: Data, base: Path) -> Listing:
    """The images of a suite's data, not decoded yet.

    Args:
        data: of the suite.
        base: the folder that its path is relative to.

    Raises:
        ImageError, ModelError: there is no such data, or a row of it is faulty; of a table, when its turn comes.
    """
    if not isinstance(data, DemoData) and not (base / data.path).exists() and not getattr(data, "download", False):
        raise ImageError(
            f"The images of the suite are not there: {base / data.path} does not exist.",
            "Say where they lie: --data PATH, or path in the suite's table data.",
        )
    if isinstance(data, FilesData):
        classes = read_class_names(base / data.classes) if isinstance(data.classes, str) else data.classes
        listed = list_images(base / data.path, targets=data.targets, first_label=data.first_label, classes=classes)
        own = [Entry(one, True, _stamp(one.path), partial(read_image, one.path)) for one in listed[: data.first]]
        return Listing(own, listed.unused, listed.source, listed.order, listed.classes, listed.notes)
    if isinstance(data, DemoData):
        from linbp.models.demo import cifar10_images, demo_images

        samples = demo_images() if data.images == "imagenet" else cifar10_images()
        images, labels, names = samples.images.permute(0, 2, 3, 1), samples.labels, list(samples.ids)
    elif isinstance(data, Cifar10Data):
        from linbp.data.cifar10 import load_cifar10

        found = load_cifar10(base / data.path, data.download)
        test = data.split == "test"
        images, labels = (found.test_images, found.test_labels) if test else (found.train_images, found.train_labels)
        names = [f"{data.split}_{number:05}" for number in range(len(images))]
    else:
        return Listing(islice(_rows(data, base / data.path), data.first))
    every = zip(names, images.numpy(), labels.tolist(), strict=True)
    return Listing(
        [
            Entry(ImageRecord(image_id=name, path=Path(), label=label, where=name), False, "", partial(_copy, pixels))
            for name, pixels, label in islice(every, data.first)
        ]
    )


def _rows(data: TableData, path: Path) -> Iterator[Entry]:
    stamp = _stamp(path)
    for row in read_image_table(
        path, data.kind, split=data.split, image=data.image, label=data.label, image_id=data.image_id
    ):
        record = ImageRecord(image_id=row.image_id, path=Path(), label=row.label, where=row.where)
        yield Entry(record, False, stamp and f"{stamp} {row.where}", row.pixels)


def _copy(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels)


def _stamp(path: Path) -> str:
    """A file's path, size and time of the last change; empty for a folder, whose files may change without it."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    return "" if stat.S_ISDIR(status.st_mode) else f"{path.absolute()} {status.st_size} {status.st_mtime_ns}"


def read_clean(
    listing: Listing,
    preparations: Mapping[str, Preparation | None],
    store: Store | None,
    tell: ProgressCallback,
) -> CleanImages:
    """Read every image once; those without files of their own are written into the run's store.

    Args:
        listing: of the data.
        preparations: what protocols make of the images, by `preparation_key`.
        store: where the run lies; None for a plan that is only shown.
        tell: told how many are read.

    Raises:
        ImageError: there are no images, one cannot be read, or two have one name.
        StoreError: the store cannot be written.
    """
    index = _Index(store)
    there = set() if store is None else store.names("images")
    rows: dict[str, list[Facts]] = {key: [] for key in preparations}
    records: list[ImageRecord] = []
    sample: list[Pixels] = []
    own_files, total = True, operator.length_hint(listing.entries)
    for done, entry in enumerate(listing.entries, 1):
        image = _Image(entry, index)
        record, own_files = entry.record, entry.own_file
        if not own_files:
            name = f"{IMAGES}{record.image_id}-{image.facts('', None)[2][:12]}.png"
            record = dataclasses.replace(record, path=Path(name))
            if store is not None and name not in there:
                store.write(name, png_bytes(image.pixels))
        if len(sample) < SAMPLE:
            sample.append(image.pixels)
        for key, preparation in preparations.items():
            rows[key].append(image.facts(key, preparation))
        records.append(record)
        tell("reading images", done, max(done, total))
    if not records:
        raise ImageError("The data hold no images.", "Give at least one.")
    check_ids(records)
    index.write()
    return CleanImages(
        records=tuple(records),
        own_files=own_files,
        sizes={key: tuple((height, width) for height, width, _ in found) for key, found in rows.items()},
        hashes={key: tuple(content for *_, content in found) for key, found in rows.items()},
        sample=tuple(sample),
        unused=listing.unused,
        source=listing.source,
        notes=listing.notes,
    )


class _Image:
    """An image that is decoded once, and only if something has to be known that the index does not tell."""

    def __init__(self, entry: Entry, index: _Index) -> None:
        self._entry, self._index = entry, index

    @functools.cached_property
    def pixels(self) -> Pixels:
        return self._entry.pixels()

    def facts(self, key: str, preparation: Preparation | None) -> Facts:
        """Height, width and hash of what a preparation makes of it."""
        known = self._index.find(self._entry, key)
        if known is None:
            where = f"Image {self._entry.record.where}"
            made = self.pixels if preparation is None else preparation.apply(self.pixels, where)
            known = (made.shape[0], made.shape[1], pixel_sha256(made))
        self._index.add(self._entry, key, known)
        return known


class _Index:
    """What is known of images that have not changed since an earlier run."""

    COLUMNS = ("stamp", "image_id", "preparation", "height", "width", "sha256")

    def __init__(self, store: Store | None) -> None:
        self._store, self._new = store, False
        self._lines: dict[tuple[str, str, str], Facts] = {}
        self._known: dict[tuple[str, str, str], Facts] = {}
        content = None if store is None else store.read(INDEX)
        if content is not None:
            with contextlib.suppress(pa.ArrowException, OSError, KeyError):  # it is made again
                table = pq.read_table(io.BytesIO(content), page_checksum_verification=True)
                columns = [table[name].to_pylist() for name in self.COLUMNS]
                self._known = {row[:3]: row[3:] for row in zip(*columns, strict=True)}

    def find(self, entry: Entry, key: str) -> Facts | None:
        place = (entry.stamp, entry.record.image_id, key)
        return self._lines.get(place) or self._known.get(place) if entry.stamp else None

    def add(self, entry: Entry, key: str, facts: Facts) -> None:
        if entry.stamp:
            place = (entry.stamp, entry.record.image_id, key)
            self._new |= place not in self._known
            self._lines[place] = facts

    def write(self) -> None:
        if self._store is not None and self._new:
            rows = [(*place, *facts) for place, facts in self._lines.items()]
            self._store.write(
                INDEX, parquet_bytes(pa.table(dict(zip(self.COLUMNS, zip(*rows, strict=True), strict=True))))
            )
