"""The rows of a list of images: the class in a cell, rows that repeat another, rows that contradict another."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Sequence

from linbp.data.class_numbers import class_number, is_number
from linbp.data.image_record import ImageRecord
from linbp.errors import ImageError

__all__ = ["check_one_label_a_file", "class_in_cell", "without_repeats"]


def class_in_cell(
    text: str, what: str, where: str, first_label: int, words: Collection[str], others: Collection[str]
) -> int | None:
    """The class in a cell, counted from 0; None in a column of words.

    Args:
        text: of the cell.
        what: the cell holds: `label` or `target`.
        where: it stands, for messages.
        first_label: what the list calls the first class.
        words: that the column holds.
        others: all cells of the column.

    Raises:
        ImageError: the cell is empty, or a word among numbers.
    """
    found = class_number(text, what, where, first_label)
    if found is None and any(map(is_number, others)):
        raise ImageError(
            f"The {what} in {where} is {text!r}, not an integer.",
            "Write numbers in all lines, or names in all lines.",
        )
    return None if words else found


def without_repeats(records: Sequence[ImageRecord]) -> tuple[list[ImageRecord], list[ImageRecord]]:
    """The records, and those that say what an earlier one said already."""
    known: set[ImageRecord] = set()
    kept: list[ImageRecord] = []
    repeated: list[ImageRecord] = []
    for record in records:
        spelling = None if record.label is not None else record.class_name
        bare = dataclasses.replace(record, where="", class_name=spelling)
        (repeated if bare in known else kept).append(record)
        known.add(bare)
    return kept, repeated


def check_one_label_a_file(records: Sequence[ImageRecord]) -> None:
    """Refuse a file that two rows give different labels, under whatever names.

    Raises:
        ImageError: there is one.
    """
    known: dict[tuple[int, int] | str, ImageRecord] = {}
    for record in records:
        facts = os.stat(record.path)
        key = (facts.st_dev, facts.st_ino) if facts.st_ino else os.path.realpath(record.path)
        other = known.setdefault(key, record)
        if other.image_id == record.image_id:
            continue
        if (other.label, other.label is None and other.class_name) != (
            record.label,
            record.label is None and record.class_name,
        ):
            first, second = (one.class_name if one.label is None else one.label for one in (other, record))
            raise ImageError(
                f"{record.path} has the label {first} in {other.where}, and {second} in {record.where}.",
                "Keep the row that is right (numbers are named here as counted from 0).",
            )
