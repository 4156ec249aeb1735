"""The clean images of an audit: what the user names, as the data of a suite."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from linbp.errors import ImageError

__all__ = ["data_of"]

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
        ImageError: there is no such place, or the first class is called neither 0 nor 1.
    """
    if first_label not in (0, 1):
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
