"""Which images there are: a CSV or a folder becomes a checked list of ids, files, labels and targets."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from linbp.data.class_numbers import check_first_label
from linbp.data.image_csv import list_csv
from linbp.data.image_folder import Contents, list_folder, looks_like_image
from linbp.data.image_id import check_ids
from linbp.data.image_record import ImageList, ImageRecord
from linbp.data.named_labels import numbered
from linbp.data.stored import left_out
from linbp.data.unused import Unused, by_kind
from linbp.errors import ImageError

__all__ = ["ImageList", "ImageRecord", "list_images", "list_sha256", "not_used"]

LIST = "images.csv"
"""The list of a folder's images."""


def list_images(
    source: str | os.PathLike[str],
    *,
    targets: str | None = None,
    first_label: int = 0,
    classes: Sequence[str] | None = None,
) -> ImageList:
    """The images of a CSV file or a folder, in the file's order or sorted by name.

    `source` is one of
    - a CSV with the columns `image_id` (optional: the file's stem), `file` (relative to the CSV, or to `images/` beside
      it; optional: `image_id` with an image's ending, in the same places), `label` (optional) and any others;
    - a folder with such a file called `images.csv`;
    - a folder with one sub-folder for each class, named by its number, by ImageNet's such as n01440764, or by its name:
      `305/x.jpg` becomes image `305_x`;
    - a folder of images, without labels.

    Columns are also known by the names that NIPS 2017's list, the LinBP paper's code, TA-Bench and TransferAttack give
    them (`ImageId`, `TrueLabel`, `TargetClass`, `image_name`, `class_index`, `class` for the files' folder,
    `filename`), and by other usual ones such as `path` and `Labels`. Cells may be separated by semicolons, tabs or
    bars, and a list of files and classes needs no header.

    Args:
        source: the CSV or the folder.
        targets: the CSV's column of target classes, for targeted attacks.
        first_label: what the list calls the first class: 0, or 1 in NIPS 2017's original list. Labels and targets are
            returned counted from 0. A network with a class for the background in front calls a list's class 0 its
            class 1: -1.
        classes: the names of the network's classes, in their order. Without them, classes in words have no number yet:
            see `numbered`.

    Returns:
        The images; its attribute `unused` counts and names what else the folder or the CSV holds.

    Raises:
        ImageError: nothing is found, or a row is faulty; the message names the row.
    """
    check_first_label(first_label)
    if not os.fspath(source):
        raise ImageError("The name of the list of images is empty.", "Give a CSV file or a folder.")
    source = Path(source)
    if os.path.isdir(source):
        if os.path.isfile(source / LIST):
            found = _with_unlisted(list_csv(source / LIST, targets, first_label), source)
        elif targets is not None:
            raise ImageError(
                f"{source} holds no {LIST}, so there is no column {targets!r}.",
                "Targets come from a CSV with the columns file, label and one of target classes.",
            )
        else:
            found = list_folder(source, first_label, mixed=classes is not None)
    elif os.path.isfile(source):
        if looks_like_image(source.name):
            raise ImageError(f"{source} is an image, not a list.", "Give the folder it lies in, or a CSV file.")
        found = list_csv(source, targets, first_label)
    else:
        what = "is neither a file nor a folder" if os.path.exists(source) else "does not exist"
        raise ImageError(f"{source} {what}.", "Give a folder of images, or a CSV with the columns file, label.")
    check_ids(found)
    if classes is not None:
        found = numbered(found, classes, network="The list of classes", given=True, first_label=first_label)
    return found


def _with_unlisted(found: ImageList, folder: Path) -> ImageList:
    """The list of a folder, with the folder's images that it does not name."""
    listed = {os.path.realpath(record.path) for record in found}
    unlisted = [path.name for path in Contents.of(folder).images if os.path.realpath(path) not in listed]
    more = by_kind((f"images that {LIST} does not list", name) for name in unlisted)
    found.source, found.unused = os.fspath(folder), (*found.unused, *more)
    return found


def list_sha256(records: Sequence[ImageRecord], pixel_hashes: Sequence[str]) -> str:
    """SHA-256 of a list's content: ids, labels, targets and pixels in their order, but not where the files lie."""
    digest = hashlib.sha256()
    for record, pixels in zip(records, pixel_hashes, strict=True):
        digest.update(f"{record.image_id}\0{record.label}\0{record.target}\0{pixels}\n".encode())
    return digest.hexdigest()


def not_used(records: Sequence[ImageRecord]) -> tuple[Unused, ...]:
    """What a list names or holds besides its images, and what its files store besides RGB pixels.

    Args:
        records: from `list_images`, or some of its entries.
    """
    stored = by_kind((kind, record.path.name) for record in records for kind in left_out(record.path))
    return (*getattr(records, "unused", ()), *stored)
