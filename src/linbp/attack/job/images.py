"""The images of a job: read once before anything is computed, and once more when their turn comes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from linbp.attack.config import AttackConfig
from linbp.attack.pool import Pool
from linbp.data.class_numbers import names_a_class
from linbp.data.image_csv import label_hint
from linbp.data.image_list import ImageRecord
from linbp.data.images import Pixels, is_turned, pixel_sha256, read_ahead
from linbp.data.preprocessing import Preparation
from linbp.errors import ImageError, RecipeError, StoreError
from linbp.jobs.progress import ProgressCallback
from linbp.models import Model

__all__ = [
    "JobImages",
    "check_list",
    "check_place",
    "has_targets",
    "preparation_of",
    "read_pool",
    "scan",
    "turned_note",
]


@dataclasses.dataclass(frozen=True)
class JobImages:
    """The list with what was found in the files.

    Attributes:
        records: the images' entries.
        preparation: what a protocol does to them first.
        threads: that decode them.
        sizes: (height, width) of each, once they were scanned.
        hashes: of their prepared pixels, once they were scanned.
    """

    records: Sequence[ImageRecord]
    preparation: Preparation | None
    threads: int
    sizes: tuple[tuple[int, int], ...] = ()
    hashes: tuple[str, ...] = ()

    @property
    def ids(self) -> list[str]:
        """Their names."""
        return [record.image_id for record in self.records]

    def pixels(self, rows: Iterable[int]) -> Iterator[Pixels]:
        """The clean images of some rows, prepared, in the order of the rows."""
        prepare = None if self.preparation is None else self.preparation.apply
        return read_ahead([self.records[row].path for row in rows], self.threads, prepare)


def has_targets(records: Sequence[ImageRecord]) -> bool:
    """Whether a list gives targets, which make an attack targeted."""
    return any(record.target is not None or record.target_name is not None for record in records)


def check_list(records: Sequence[ImageRecord], config: AttackConfig) -> None:
    """Refuse lists without images, or with labels or targets for some of them only.

    Raises:
        ImageError: it is one.
    """
    if not records:
        raise ImageError("The list holds no images.", "Give at least one.")
    unlabelled = next((record for record in records if record.label is None and record.class_name is None), None)
    if config.labels == "given" and unlabelled is not None:
        raise ImageError(
            f"Image {unlabelled.image_id!r} has no label.",
            (
                label_hint(records) + " Give labels in a CSV or as names of sub-folders, or take the surrogate's own "
                "predictions with --labels predicted (labels='predicted' in Python)."
            ).lstrip(),
        )
    with_target = sum(has_targets([record]) for record in records)
    if with_target not in (0, len(records)):
        raise ImageError(f"Only {with_target} of {len(records)} images have a target.", "Give each one, or none.")


def check_place(folder: str | os.PathLike[str], records: Sequence[ImageRecord]) -> None:
    """Refuse a folder for the adversarial images that the next listing of the images would take for one of the classes.

    Raises:
        StoreError: it is one.
    """
    place = Path(os.path.realpath(folder))
    classes = {record.path.parent for record in records if names_a_class(record.path.parent.name)}
    if names_a_class(place.name) and any(os.path.realpath(one.parent) == str(place.parent) for one in classes):
        raise StoreError(
            f"{folder} would be one of the classes beside {min(classes)}.",
            "Choose a folder outside of the images, or of another name than a class's.",
        )


def preparation_of(config: AttackConfig, models: Sequence[Model]) -> Preparation | None:
    """What a protocol makes of the photographs for some surrogates, or None without a protocol.

    Raises:
        RecipeError: it gives the images the surrogate's own size, and there are several; or a surrogate crops.
    """
    protocol = config.protocol
    if protocol is None:
        return None
    for model in models:
        if model.centre_crop is not None:
            raise RecipeError(
                f"{model.name} crops by itself ({model.centre_crop}), and the protocol {protocol.name} says how images "
                "are prepared for it.",
                "Name the surrogate without its crop, or leave the protocol out.",
            )
    found = {protocol.prepare_for(model.input_size[1:], model.interpolation) for model in models}
    if len(found) > 1:
        raise RecipeError(
            f"The protocol {protocol.name} gives the images the surrogate's own size, and the ensemble has several: "
            f"{'; '.join(sorted(map(str, found)))}.",
            "Use surrogates of one size, or leave the protocol out.",
        )
    return found.pop()


def read_pool(
    records: Sequence[ImageRecord], preparation: Preparation | None, threads: int, tell: ProgressCallback
) -> Pool:
    """The pool of a job, prepared as its images are."""
    tell("reading the pool", 0, len(records))
    return Pool.read(
        records,
        threads=threads,
        prepare=None if preparation is None else preparation.apply,
        progress=lambda done, total: tell("reading the pool", done, total),
    )


def scan(images: JobImages, tell: ProgressCallback) -> JobImages:
    """Read every image once before anything is computed: a broken one is found now and not after hours."""
    sizes, hashes, total = [], [], len(images.records)
    tell("reading images", 0, total)
    for done, pixels in enumerate(images.pixels(range(total)), 1):
        sizes.append((pixels.shape[0], pixels.shape[1]))
        hashes.append(pixel_sha256(pixels))
        tell("reading images", done, total)
    return dataclasses.replace(images, sizes=tuple(sizes), hashes=tuple(hashes))


def turned_note(images: Sequence[ImageRecord]) -> list[str]:
    """A note if viewers show some of the images otherwise than they are attacked."""
    turned = [image.path.name for image in images if is_turned(image.path)]
    if not turned:
        return []
    what = "1 image was" if len(turned) == 1 else f"{len(turned)} images were"
    return [
        f"{what} taken with the camera turned (EXIF orientation of {turned[0]}), which is not applied: pixels are "
        "attacked as they are stored, as torchvision and timm load them. Save upright what should stand upright."
    ]
