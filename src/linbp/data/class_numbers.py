"""What a list calls a class, as a number counted from 0."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from linbp.errors import ImageError

__all__ = [
    "SYNSET",
    "check_first_label",
    "class_number",
    "classes_meant",
    "imagenet_synsets",
    "is_number",
    "names_a_class",
    "words_among",
]

WHOLE = re.compile(r"([+-]?\d+)(\.0*)?")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
SYNSET = re.compile(r"n\d{8}")

BEFORE = -1
"""The lowest that the first class may be called: by a list from 0 for a network with a background in front."""


def check_first_label(first_label: int) -> None:
    """Refuse a first class that no list counts from.

    Raises:
        ImageError: it is below -1.
    """
    if first_label < BEFORE:
        raise ImageError(
            f"The first label is {first_label}.",
            "Give 0, or 1 for a list that counts from 1; or -1 for a list from 0 and a network whose class 0 is the "
            "background.",
        )


def is_number(text: str) -> bool:
    """Whether a cell holds a whole number, `3` or `3.0`."""
    return WHOLE.fullmatch(text) is not None


def names_a_class(text: str) -> bool:
    """Whether a cell holds what `class_number` reads: `3`, `3.0` or ImageNet's `n01440764`."""
    return bool(WHOLE.fullmatch(text) or text in _synsets(text))


def classes_meant(texts: Iterable[str]) -> int | None:
    """How many classes a network must have for `class_number` to give its own: ImageNet's, if one is named so."""
    return next((len(synsets) for text in texts if (synsets := _synsets(text))), None)


def words_among(texts: Iterable[str]) -> tuple[str, ...]:
    """The texts that are words, which only the names of a network's classes explain; none of them is a number."""
    return tuple(text for text in texts if text and not names_a_class(text) and not NUMBER.fullmatch(text))


def class_number(text: str, what: str, where: str, first_label: int) -> int | None:
    """The class that a cell or a folder names, counted from 0; None for a word, which only a network's names explain.

    ImageNet's classes are understood by their numbers in WordNet, such as n01440764: their order is known.

    Args:
        text: the cell or the folder's name.
        what: what messages call it: `label` or `target`.
        where: its place, for messages.
        first_label: what the list calls the first class.

    Raises:
        ImageError: it is empty, or another number than a class has.
    """
    whole = WHOLE.fullmatch(text)
    if whole is None:
        if text in (synsets := _synsets(text)):
            return synsets[text]
        if words_among([text]):
            return None
        raise ImageError(
            f"The {what} in {where} is {text!r}, not an integer.",
            "Labels are numbers of the network's classes, from 0, or their names.",
        )
    number = int(whole[1])
    if number < first_label:
        raise ImageError(
            f"The {what} in {where} is {number}, but the first class is called {first_label}.",
            "Labels count from 0; a list that counts from 1 needs --first-label 1 (first_label=1 in Python).",
        )
    return number - first_label


def _synsets(text: str) -> dict[str, int]:
    """ImageNet's classes by their numbers in WordNet; empty where `text` is of another form."""
    return imagenet_synsets() if SYNSET.fullmatch(text) else {}


@functools.cache
def imagenet_synsets() -> dict[str, int]:
    """The numbers of ImageNet's 1,000 classes by their numbers in WordNet."""
    from timm.data.imagenet_info import ImageNetInfo  # only where it is needed: it takes seconds to import

    names: list[str] = ImageNetInfo().label_names()  # type: ignore[no-untyped-call]
    return {name: number for number, name in enumerate(names)}
