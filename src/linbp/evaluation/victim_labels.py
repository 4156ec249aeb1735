"""The labels that a victim is scored by, as numbers of its own classes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from linbp.data.class_names import is_background
from linbp.data.class_numbers import class_number, is_number
from linbp.data.image_record import ImageList, ImageRecord
from linbp.data.label_file import labels_in
from linbp.data.named_labels import numbered
from linbp.data.numbering import order_of
from linbp.data.predictions import ABSTAINED
from linbp.errors import ImageError, LabelsError, nearest_name
from linbp.models import Classifier

__all__ = ["PREDICTED", "VictimLabels", "behind_background", "in_list", "labels_of_folder"]

PREDICTED, GIVEN, RECORDED = "predicted", "given", "recorded"


@dataclass(frozen=True, kw_only=True)
class VictimLabels:
    """What tells a victim's labels.

    Attributes:
        listed: the images with their classes as a list writes them; None: the victim's own predictions.
        source: where they come from, in words.
        names: of classes, that the user gave.
    """

    listed: ImageList | None
    source: str
    names: tuple[str, ...] | None = None

    def of(
        self, victim: Classifier, classes: int | None, predictions: npt.NDArray[np.int64]
    ) -> tuple[list[int], tuple[str, ...]]:
        """One label for each image, counted from 0, and what should be noted.

        Args:
            victim: the network, whose names of classes are used where the list has words.
            classes: how many it has; None where that is not known yet.
            predictions: its answers to the clean images.

        Raises:
            LabelsError: the list's classes are not the victim's.
        """
        if self.listed is None:
            but = ", but for those that it does not answer" if ABSTAINED in predictions else ""
            note = (
                f"The labels of {victim.name} are its own predictions, so that it is right on clean by definition{but}."
            )
            return np.where(predictions == ABSTAINED, -1, predictions).tolist(), (note,)
        given = self.names is not None and (len(self.names) == classes or not getattr(victim, "class_names", ()))
        names = self.names if given and self.names is not None else getattr(victim, "class_names", ())
        try:
            found = numbered(self.listed, names, network=victim.name, classes=classes, given=given)
            labels = [-1 if one.label is None else one.label for one in found]
            wrong = next((row for row, label in enumerate(labels) if classes and not 0 <= label < classes), None)
            if wrong is not None and classes is not None:
                raise ImageError(
                    f"The label of image {found[wrong].image_id!r} is {labels[wrong]}, and {victim.name} has the "
                    f"classes 0 to {classes - 1}.",
                    "Labels count from 0; a list that counts from 1 needs --first-label 1 (first_label=1).",
                )
        except ImageError as error:
            raise LabelsError(f"Labels of {self.source}: {error.message}", error.hint) from error
        return labels, found.notes


def in_list(texts: Sequence[str], images: Sequence[tuple[str, Path]], source: str, first_label: int = 0) -> ImageList:
    """A list of images with these classes, numbers or words.

    Args:
        texts: one for each image.
        images: id and file of each.
        source: where they come from, in words.
        first_label: what they call the first class.

    Raises:
        ImageError: a number that no class has.
    """
    numbers = all(map(is_number, texts))
    return ImageList(
        (
            ImageRecord(
                image_id=image_id,
                path=file,
                class_name=text,
                label=class_number(text, "label", f"{source}, image {image_id!r}", first_label) if numbers else None,
            )
            for text, (image_id, file) in zip(texts, images, strict=True)
        ),
        source=source,
        order=sorted(set(texts)),
    )


def labels_of_folder(
    wanted: str | os.PathLike[str] | None,
    manifest: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    *,
    data: str | os.PathLike[str] | None,
    names: Sequence[str] | None,
    first_label: int,
) -> VictimLabels | None:
    """What tells the labels of the victims of a folder; None for those that it was crafted with.

    Args:
        wanted: `recorded` or None; `predicted`, by the victim; `given`, by the list of images; a CSV or a folder; or
            else a column of the list's CSV.
        manifest: of the folder.
        records: of its adversarial images, in their order.
        data: the list of clean images, if it was moved.
        names: of the victim's classes, where the labels are words.
        first_label: what the labels call the first class, where they are numbers.

    Raises:
        ImageError: there is no such list or column, or it lacks an image.
    """
    known = None if names is None else tuple(names)
    text = RECORDED if wanted is None else os.fspath(wanted)
    if text == RECORDED:
        return (
            None if known is None else labels_of_folder(GIVEN, manifest, records, data=data, names=names, first_label=0)
        )
    if text == PREDICTED:
        return VictimLabels(listed=None, source=text)
    images = [(str(record["image_id"]), Path(record["file"])) for record in records]
    place = data if data is not None else manifest.get("list")
    if text == GIVEN:
        texts = [record.get("class_name") for record in records]
        if None in texts:
            raise ImageError("The images were listed without labels.", "Give --labels a CSV, or predicted.")
        listed = in_list([str(one) for one in texts], images, "the images' list", first_label)
        if manifest["settings"].get("labels", GIVEN) == GIVEN and listed[0].label is not None:
            # They were counted already, from whatever the list calls its first class.
            pairs = zip(listed, records, strict=True)
            listed = listed.of(dataclasses.replace(one, label=int(record["label"])) for one, record in pairs)
        return VictimLabels(listed=listed, source="the images' list", names=known)
    if os.path.exists(text):
        return VictimLabels(
            listed=in_list(labels_in(text, images), images, text, first_label), source=text, names=known
        )
    if place is None or not _is_table(Path(place)):
        raise ImageError(
            f"{text!r} is no file, and no column: the images were not listed in a CSV.",
            f"Give --labels a CSV with the columns image_id and label, or one of {RECORDED}, {GIVEN}, {PREDICTED}."
            + (
                f" {nearest}" if "Did you mean" in (nearest := nearest_name(text, (RECORDED, GIVEN, PREDICTED))) else ""
            ),
        )
    source = f"the column {text} of {place}"
    listed = in_list(labels_in(place, images, text), images, source, first_label)
    return VictimLabels(listed=listed, source=source, names=known)


def _is_table(path: Path) -> bool:
    return path.is_file() or (path / "images.csv").is_file()


def behind_background(
    victim: Classifier, classes: int, others: int | None, labels: Sequence[int], predictions: npt.NDArray[np.int64]
) -> tuple[int, tuple[str, ...]]:
    """By how much a victim's classes are further than the labels, because one of the two has one for the background.

    Args:
        victim: the network.
        classes: how many it has.
        others: how many the network has whose classes the labels are; None where that is not known.
        labels: counted from 0.
        predictions: of the clean images.

    Returns:
        1, -1 or 0, and what should be noted.
    """
    if others is None or abs(by := classes - others) != 1 or not 0 <= min(labels) + by <= max(labels) + by < classes:
        return 0, ()
    order = order_of(labels, predictions.tolist(), max(classes, others))
    told = by == 1 and is_background(getattr(victim, "class_names", ()))
    if not told and (order is None or order.by != by):
        return 0, ()
    which = f"{victim.name} has" if by == 1 else "The surrogate has"
    return by, (
        f"{which} one class more, for the background in front: the labels of {victim.name} are shifted by {by}.",
    )
