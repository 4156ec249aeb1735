"""The clean images of an audit: what the user names, as the data of a suite."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from linbp.bench.networks import Network
from linbp.data.class_numbers import check_first_label
from linbp.data.image_list import list_images
from linbp.data.images import read_image
from linbp.data.named_labels import in_words, numbered
from linbp.errors import ImageError
from linbp.evaluation.predict import predict

__all__ = ["data_of", "with_class_names"]

DEMO = "demo:"
CIFAR10 = ("cifar-10-batches-py", "labels.u8")
"""What tells a folder of CIFAR-10, as torchvision keeps it or as mosaics, from a folder of images."""


def data_of(place: str | os.PathLike[str], first_label: int = 0) -> dict[str, Any]:
    """The table `data` of a bench suite.

    Args:
        place: a folder of images or a CSV, as `linbp craft` takes them; a Parquet file; CIFAR-10's folder;
            `demo:imagenet` or `demo:cifar10`, the twenty sample images.
        first_label: what a folder or a CSV calls the first class.

    Raises:
        ImageError: there is no such place, or no list calls its first class so.
    """
    check_first_label(first_label)
    if first_label > 1:
        raise ImageError(f"The first label is {first_label}.", "Give 0, or 1 for a list that counts from 1.")
    text = os.fspath(place)
    if text.startswith(DEMO):
        if (images := text.removeprefix(DEMO)) not in ("imagenet", "cifar10"):
            raise ImageError(f"There are no sample images {text!r}.", "Give demo:imagenet or demo:cifar10.")
        return {"kind": "demo", "images": images}
    path = Path(text).expanduser()
    if not text or not path.exists():
        raise ImageError(
            f"The images are not there: {text or 'an empty name'} does not exist.",
            "Give a folder with one sub-folder for each class, or a CSV with the columns file and label.",
        )
    where = str(path.absolute())
    if path.suffix == ".parquet":
        return {"kind": "parquet", "path": where}
    if path.is_dir() and any((path / name).exists() for name in CIFAR10):
        return {"kind": "cifar10", "path": where}
    return {"kind": "folder" if path.is_dir() else "csv", "path": where, "first_label": first_label}


def with_class_names(
    table: dict[str, Any], network: Network, names: Sequence[str] | None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The table with the names of the audited model's classes, where the list has words; and what should be noted.

    Args:
        table: of `data_of`.
        network: the model.
        names: that the user gave; None: the model's own, or else as torchvision's `ImageFolder` sorts them.

    Raises:
        ImageError: a word is no class of the model's.
    """
    if table["kind"] not in ("folder", "csv"):
        return table, ()
    if names is not None:
        return {**table, "classes": list(names)}, ()
    listed = list_images(table["path"], first_label=table["first_label"])
    if not in_words(listed):
        return table, ()
    _, classes = predict(network, [read_image(listed[0].path)[None]])
    found = numbered(listed, network.class_names, network=network.name, classes=classes)
    words = {one.class_name for one in found if one.class_name is not None}
    order = network.class_names or (listed.order if len(listed.order) == classes else sorted(words))
    return {**table, "classes": list(order)}, found.notes
