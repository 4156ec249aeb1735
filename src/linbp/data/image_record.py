"""One entry of a list of images, and the list with what it leaves out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from linbp.data.unused import Unused

__all__ = ["ImageList", "ImageRecord"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """One image of a list.

    Attributes:
        image_id: its name: that of its adversarial image's file, and the key of its randomness.
        path: the file.
        label: its class, counted from 0; None where the list has no labels.
        target: the class that a targeted attack aims at, counted from 0; None without targets.
        where: the place in the list, for messages.
    """

    image_id: str
    path: Path
    label: int | None = None
    target: int | None = None
    where: str = ""


class ImageList(tuple[ImageRecord, ...]):
    """The entries of a list, with what the list holds besides.

    Attributes:
        source: what was listed, as it was given.
        unused: files, rows and links that are there and are not used.
        columns: those of a CSV file, as they are written there; empty for a folder.
        classes: how many classes a network has for which the labels were named in another way than by numbers, as
            ImageNet's are; None where they are numbers.
    """

    source: str
    unused: tuple[Unused, ...]
    columns: tuple[str, ...]
    classes: int | None

    def __new__(
        cls,
        records: Iterable[ImageRecord] = (),
        *,
        source: str = "",
        unused: tuple[Unused, ...] = (),
        columns: tuple[str, ...] = (),
        classes: int | None = None,
    ) -> ImageList:
        """The list of these records."""
        made = super().__new__(cls, records)
        made.source, made.unused, made.columns, made.classes = source, unused, columns, classes
        return made
