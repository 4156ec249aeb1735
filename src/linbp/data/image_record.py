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
        label: its class, counted from 0; None where the list has no labels, or names them in words that no network has
            explained yet: see `numbered`.
        target: the class that a targeted attack aims at, likewise; None without targets.
        where: the place in the list, for messages.
        class_name: its class as the list writes it: a word or a number; None where the list has no labels.
        target_name: the target, likewise.
    """

    image_id: str
    path: Path
    label: int | None = None
    target: int | None = None
    where: str = ""
    class_name: str | None = None
    target_name: str | None = None


class ImageList(tuple[ImageRecord, ...]):
    """The entries of a list, with what the list holds besides.

    Attributes:
        source: what was listed, as it was given.
        unused: files, rows and links that are there and are not used.
        columns: those of a CSV file, as they are written there; empty for a folder.
        classes: how many classes a network has for which the labels were named in another way than by numbers, as
            ImageNet's are; None where they are numbers.
        order: every class that the list names, sorted, those without images too: a network that was trained on such
            folders numbers them so.
        notes: what should be known of the labels, in sentences.
    """

    source: str
    unused: tuple[Unused, ...]
    columns: tuple[str, ...]
    classes: int | None
    order: tuple[str, ...]
    notes: tuple[str, ...]

    def __new__(
        cls,
        records: Iterable[ImageRecord] = (),
        *,
        source: str = "",
        unused: tuple[Unused, ...] = (),
        columns: tuple[str, ...] = (),
        classes: int | None = None,
        order: Iterable[str] = (),
        notes: Iterable[str] = (),
    ) -> ImageList:
        """The list of these records."""
        made = super().__new__(cls, records)
        made.source, made.unused, made.columns, made.classes = source, unused, columns, classes
        made.order, made.notes = tuple(order), tuple(notes)
        return made

    def of(self, records: Iterable[ImageRecord]) -> ImageList:
        """Other entries, with what the list says of itself."""
        return ImageList(
            records,
            source=self.source,
            unused=self.unused,
            columns=self.columns,
            classes=self.classes,
            order=self.order,
            notes=self.notes,
        )
