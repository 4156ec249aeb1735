"""What a list calls a class, as a number counted from 0."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable

from linbp.errors import ImageError

__all__ = ["check_first_label", "class_number", "classes_meant", "names_a_class", "sorted_order"]

WHOLE = re.compile(r"([+-]?\d+)(\.0*)?")
SYNSET = re.compile(r"n\d{8}")


def check_first_label(first_label: int) -> None:
    """Refuse a first class that no list counts from.

    Raises:
        ImageError: it is below 0.
    """
    if first_label < 0:
        raise ImageError(f"The first label is {first_label}.", "Give 0, or 1 for a list that counts from 1.")


def names_a_class(text: str) -> bool:
    """Whether a cell holds what `class_number` reads: `3`, `3.0` or ImageNet's `n01440764`."""
    return bool(WHOLE.fullmatch(text) or text in _synsets(text))


def classes_meant(texts: Iterable[str]) -> int | None:
    """How many classes a network must have for `class_number` to give its own: ImageNet's, if one is named so."""
    return next((len(synsets) for text in texts if (synsets := _synsets(text))), None)


def class_number(text: str, what: str, where: str, first_label: int, names: Collection[str] = ()) -> int:
    """The class that a cell or a folder names, counted from 0.

    ImageNet's classes are understood by their numbers in WordNet, such as n01440764: their order is known.

    Args:
        text: the cell or the folder's name.
        what: what messages call it: `label` or `target`.
        where: its place, for messages.
        first_label: what the list calls the first class.
        names: of all classes of the list, where they are known.

    Raises:
        ImageError: it is no number of a class.
    """
    whole = WHOLE.fullmatch(text)
    if whole is None:
        if text in (synsets := _synsets(text)):
            return synsets[text]
        raise ImageError(
            f"The {what} in {where} is {text!r}, not an integer.",
            "Labels are numbers of the network's classes, from 0." + sorted_order(names),
        )
    number = int(whole[1])
    if number < first_label:
        raise ImageError(
            f"The {what} in {where} is {number}, but the first class is called {first_label}.",
            "Labels count from 0; a list that counts from 1 needs --first-label 1 (first_label=1 in Python).",
        )
    return number - first_label


def sorted_order(names: Collection[str]) -> str:
    """A hint for classes with names: their numbers in a network that was trained on such folders.

    Args:
        names: of all classes of the list.
    """
    known = sorted({name for name in names if name})
    if len(known) < 2:
        return ""
    order = ", ".join(f"{name} is {number}" for number, name in enumerate(known[:3]))
    dots = ", ..." if len(known) > 3 else ""
    return f" A network trained by torchvision's ImageFolder on these classes sorts them: {order}{dots}."


def _synsets(text: str) -> dict[str, int]:
    """ImageNet's classes by their numbers in WordNet; empty where `text` is of another form."""
    return _imagenet() if SYNSET.fullmatch(text) else {}


@functools.cache
def _imagenet() -> dict[str, int]:
    from timm.data.imagenet_info import ImageNetInfo  # only where it is needed: it takes seconds to import

    names: list[str] = ImageNetInfo().label_names()  # type: ignore[no-untyped-call]
    return {name: number for number, name in enumerate(names)}
