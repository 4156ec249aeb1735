"""The data of a suite: where the clean images come from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Cifar10Data", "Data", "DemoData", "FilesData", "SuiteTable", "TableData", "with_data"]


class SuiteTable(BaseModel):
    """A table of a suite file: no other keys than its fields, and nothing is converted from another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Images(SuiteTable):
    """What all kinds of data have.

    Attributes:
        first: only so many images, from the first one on; None: all.
        sample: only so many of these, chosen by a hash of their names: spread over the list, whatever its order is, and
            a larger sample has every image of a smaller one. None: all.
    """

    first: Annotated[int, Field(ge=1)] | None = None
    sample: Annotated[int, Field(ge=1)] | None = None


class FilesData(_Images):
    """Image files: a folder with one sub-folder for each class, or a CSV with the columns file and label.

    Attributes:
        path: the folder or the CSV; relative to the suite file.
        first_label: what the list calls the first class, 0 or 1; -1 if it counts from 0, and class 0 of the surrogates
            is the background.
        classes: a file of the names of the classes in the surrogates' order, relative to the suite file, or the names,
            for folders and lists that name them; None: the surrogates' own names.
        targets: the CSV's column of target classes, which makes the attacks targeted.
    """

    kind: Literal["folder", "csv"]
    path: str
    first_label: Literal[-1, 0, 1] = 0
    classes: str | Annotated[tuple[str, ...], Field(strict=False)] | None = None
    targets: str | None = None


class Cifar10Data(_Images):
    """CIFAR-10, as torchvision keeps it or as mosaics.

    Attributes:
        path: the folder; relative to the suite file.
        split: whose images.
        download: fetch it into the folder where it is not there.
    """

    kind: Literal["cifar10"]
    path: str
    split: Literal["test", "train"] = "test"
    download: bool = False


class TableData(_Images):
    """A Parquet file or a folder of them (`parquet`), or what the library datasets saved to disk (`huggingface`).

    Attributes:
        path: the file or the folder; relative to the suite file.
        split: of a saved DatasetDict.
        image: the column of images: encoded bytes, or structs with `bytes` or `path`.
        label: the column of whole numbers from 0.
        image_id: a column of names; None: the rows' numbers.
    """

    kind: Literal["parquet", "huggingface"]
    path: str
    split: str | None = None
    image: str = "image"
    label: str = "label"
    image_id: str | None = None


class DemoData(_Images):
    """The twenty sample images of the extra `demo`."""

    kind: Literal["demo"]
    images: Literal["imagenet", "cifar10"] = "imagenet"


Data = Annotated[FilesData | Cifar10Data | TableData | DemoData, Field(discriminator="kind")]


def with_data(data: Data, path: str | os.PathLike[str] | None, first: int | None) -> Data:
    """The same data elsewhere, or fewer of them.

    Args:
        data: of a suite.
        path: a folder, a CSV or a Parquet file, relative to the current folder, instead of the suite's; CIFAR-10 and
            tables stay what they are. None: the suite's.
        first: only so many images; None: as many as the suite says.
    """
    if path is not None:
        place = os.path.abspath(Path(path).expanduser())
        if isinstance(data, Cifar10Data):
            data = data.model_copy(update={"path": place, "download": False})
        elif isinstance(data, TableData):
            data = data.model_copy(update={"path": place})
        elif place.endswith(".parquet"):
            data = TableData(kind="parquet", path=place, first=data.first)
        else:
            kind: Literal["folder", "csv"] = "folder" if os.path.isdir(place) else "csv"
            known = data if isinstance(data, FilesData) else FilesData(kind=kind, path=place, first=data.first)
            data = known.model_copy(update={"kind": kind, "path": place})
    return data if first is None else data.model_copy(update={"first": first})
