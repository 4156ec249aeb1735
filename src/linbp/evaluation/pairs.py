"""The clean and adversarial images of a folder: which are there, and are they those that were recorded?"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linbp.attack.job.adversarial_folder import AdversarialFolder
from linbp.data.files import MANIFEST
from linbp.data.image_list import list_images
from linbp.data.images import Pixels, distances, pixel_sha256, read_ahead, read_image
from linbp.data.preprocessing import Preparation
from linbp.errors import ImageError, StoreError
from linbp.jobs.progress import ProgressCallback

__all__ = ["Pair", "Reader", "check_pairs", "open_folder", "read_pairs"]

SHOWN = 3
"""How many names a message gives."""

ROOM = 2**30
"""Bytes of decoded pixels that are kept for the next victim: 3,500 pairs of 224 x 224. Others are decoded again."""


Prepare = Callable[[Pixels, str], Pixels]
"""What a protocol makes of a photograph, which is told its name."""


@dataclass(frozen=True)
class Pair:
    """A finished adversarial image with its clean image."""

    record: dict[str, Any]
    clean: Path
    adv: Path

    @property
    def image_id(self) -> str:
        """The image's name."""
        return str(self.record["image_id"])


class Reader:
    """Reads images of a folder's two kinds, and keeps their pixels: each file is decoded once for all victims.

    Args:
        preparation: what the protocol made of the photographs before the attack, or None.
        threads: that decode images.
    """

    def __init__(self, preparation: Preparation | None, threads: int) -> None:
        self.preparation, self.threads, self.room = preparation, threads, ROOM
        self._kept: dict[tuple[Path, bool], Pixels] = {}

    def clean(self, pairs: Sequence[Pair]) -> Iterator[Pixels]:
        """Clean images, prepared as the attack got them."""
        return self._read([pair.clean for pair in pairs], None if self.preparation is None else self.preparation.apply)

    def adv(self, pairs: Sequence[Pair]) -> Iterator[Pixels]:
        """Adversarial images, as they are."""
        return self._read([pair.adv for pair in pairs], None)

    def _read(self, paths: Sequence[Path], prepare: Prepare | None) -> Iterator[Pixels]:
        names = [(path, prepare is not None) for path in paths]
        known = [self._kept.get(name) for name in names]
        missing = [path for path, pixels in zip(paths, known, strict=True) if pixels is None]
        with contextlib.closing(read_ahead(missing, self.threads, prepare)) as coming:
            for name, pixels in zip(names, known, strict=True):
                yield self._keep(name, next(coming)) if pixels is None else pixels

    def _keep(self, name: tuple[Path, bool], pixels: Pixels) -> Pixels:
        """Keep pixels where there is room."""
        if name not in self._kept and pixels.nbytes <= self.room:
            self._kept[name], self.room = pixels, self.room - pixels.nbytes
        return pixels


def open_folder(path: str | os.PathLike[str]) -> tuple[AdversarialFolder, dict[str, Any]]:
    """A folder that `craft_folder` made, and its manifest.

    Raises:
        StoreError: it is no such folder.
    """
    place = Path(path)
    if place.is_file():
        raise StoreError(f"{place} is a file, and evaluate takes a folder that linbp craft made.", _instead(place))
    if not place.exists():
        raise StoreError(f"{place} does not exist.", "Give the --out folder of a finished linbp craft.")
    store = AdversarialFolder(place)
    manifest = store.read_manifest()
    if manifest is None:
        inner = sorted(found.parent.name for found in place.glob(f"*/{MANIFEST}"))
        raise StoreError(
            f"{place} holds no {MANIFEST}.",
            f"Give one of the folders in it: {', '.join(inner[:SHOWN])}."
            if inner
            else "Give the --out folder of a finished linbp craft.",
        )
    return store, manifest


def _instead(file: Path) -> str:
    """The hint for a file where a folder is wanted."""
    if (file.parent / MANIFEST).is_file():
        return f"It lies in one: linbp evaluate {file.parent} --victim MODEL."
    if file.suffix.lower() in (".csv", ".tsv", ".txt"):
        return f"A list of images is what linbp craft --data {file} takes; evaluate takes the folder that it makes."
    if file.suffix.lower() in (".onnx", ".pt2", ".pt", ".pth", ".safetensors", ".py"):
        return "A network is named with --victim."
    return "Give the --out folder of a finished linbp craft."


def read_pairs(
    store: AdversarialFolder, expected: int, partial: bool, data: str | os.PathLike[str] | None
) -> tuple[list[Pair], tuple[str, ...]]:
    """The pairs of a folder, and what to say about those that are missing.

    Args:
        store: the folder.
        expected: how many images were to be attacked.
        partial: leave out adversarial images that are not there or cannot be read.
        data: the list of clean images, if they were moved.

    Raises:
        StoreError: adversarial images are missing.
        ImageError: the list of clean images lacks one.
    """
    records = list(store.read_records().values())
    if not records or (len(records) < expected and not partial):
        raise StoreError(
            f"{store.path} holds {len(records)} of {expected} adversarial images.",
            "Run its craft command again to finish it, or count what is there with --partial.",
        )
    pairs = [Pair(record, Path(record["file"]), store.adv_path(record["image_id"])) for record in records]
    gone = [pair for pair in pairs if not (_readable(pair.adv) if partial else pair.adv.is_file())]
    words = f"{len(gone)} of {expected} adversarial images are missing or broken: {_some(gone)}"
    if gone and (not partial or len(gone) == len(pairs)):
        raise StoreError(
            f"In {store.path}, {words}.",
            "Run its craft command again, which makes only what is missing; or count the others with --partial.",
        )
    pairs = [pair for pair in pairs if pair not in gone]
    if data is not None:
        paths = {image.image_id: image.path for image in list_images(data)}
        for pair in pairs:
            if pair.image_id not in paths:
                raise ImageError(f"{data} has no image {pair.image_id!r}.", "Give the list that was crafted from.")
        pairs = [dataclasses.replace(pair, clean=paths[pair.image_id]) for pair in pairs]
    return pairs, (f"Not counted: {words}.",) if gone else ()


def check_pairs(
    pairs: Sequence[Pair], reader: Reader, tell: ProgressCallback
) -> tuple[list[tuple[int, int]], list[tuple[int, float]]]:
    """Size and distance of every pair; refuses files that are not those of the records."""
    sizes, found = [], []
    images = zip(reader.clean(pairs), _adversarial(pairs, reader), strict=True)
    for done, (pair, (clean, adv)) in enumerate(zip(pairs, images, strict=True), 1):
        for pixels, wanted, path in (
            (clean, pair.record["clean_sha256"], pair.clean),
            (adv, pair.record["sha256"], pair.adv),
        ):
            if pixel_sha256(pixels) != wanted:
                raise StoreError(
                    f"{path} does not hold the pixels that were recorded.",
                    "An adversarial image: run the craft command again. A clean image: give the right list with --data."
                    + ("" if reader.preparation is None else " (Another Pillow may also resize otherwise.)"),
                )
        sizes.append((clean.shape[0], clean.shape[1]))
        found.append(distances(clean, adv, pair.image_id))
        tell("reading images", done, len(pairs))
    return sizes, found


def _adversarial(pairs: Sequence[Pair], reader: Reader) -> Iterator[Pixels]:
    """Adversarial images; one that is broken is made again by craft, and not by the user."""
    try:
        yield from reader.adv(pairs)
    except ImageError as error:
        raise StoreError(
            error.message,
            "Run the craft command again, which makes only what is missing; or count the others with --partial.",
        ) from error


def _readable(path: Path) -> bool:
    try:
        read_image(path)
    except ImageError:
        return False
    return True


def _some(pairs: Sequence[Pair]) -> str:
    names = ", ".join(pair.adv.name for pair in pairs[:SHOWN])
    return names + (f" and {len(pairs) - SHOWN} others" if len(pairs) > SHOWN else "")
