"""Labels in words become numbers: by the names of a network's classes, or as torchvision's ImageFolder sorts them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from linbp.data.class_names import ClassNames, is_background
from linbp.data.class_numbers import SYNSET, class_number, is_number
from linbp.data.image_record import ImageList, ImageRecord
from linbp.errors import ImageError

__all__ = ["in_words", "numbered"]

GIVE = (
    "Give the names of its classes, in their order, with --classes FILE (classes=... in Python): one name a line, "
    "JSON, or CSV."
)


def in_words(records: Sequence[ImageRecord]) -> bool:
    """Whether a list names its classes, or its targets, in words that no network has explained yet."""
    return any(
        (one.label is None and one.class_name is not None) or (one.target is None and one.target_name is not None)
        for one in records
    )


def numbered(
    images: Sequence[ImageRecord],
    names: Sequence[str],
    *,
    network: str,
    classes: int | None = None,
    labels: bool = True,
    given: bool = False,
    first_label: int = 0,
) -> ImageList:
    """A list whose labels and targets are numbers of a network's classes, counted from 0.

    Words are found among the names; where there are none, and as many words as classes, they are sorted as
    torchvision's `ImageFolder` sorts the folders that it trains on, and the list's `notes` say so. Numbers stay what
    they are, unless all of them are names that were `given`; ImageNet's of WordNet are one further in a network with
    a class for the background in front.

    Args:
        images: from `list_images`.
        names: of the network's classes, in their order; empty where it names none.
        network: its name, for messages.
        classes: how many it has; None where that is not known.
        labels: whether the labels are wanted; else the targets alone.
        given: whether the user gave the names, so that they come before numbers.
        first_label: what the list calls the first class, where the labels are numbers after all.

    Raises:
        ImageError: a word is no class of the network's, or names several.
    """
    known = ClassNames(names, network, given=given)
    listed = images if isinstance(images, ImageList) else ImageList(images)
    if not labels:
        bare = listed.of(dataclasses.replace(one, class_name=None) for one in listed)
        aimed = numbered(bare, names, network=network, classes=classes, given=given, first_label=first_label)
        pairs = zip(listed, aimed, strict=True)
        return aimed.of(dataclasses.replace(made, class_name=one.class_name) for one, made in pairs)
    texts = list(
        dict.fromkeys(text for one in listed for text in (one.class_name, one.target_name) if text is not None)
    )
    if not texts:
        return listed
    if given and classes is not None and len(known) != classes:
        raise ImageError(
            f"The list of classes has {len(known)} names, and {network} has {classes} classes.",
            "Give one name for each class, in their order.",
        )
    if given and all(is_number(text) for text in texts) and not all(text in known.names for text in texts):
        return listed if not in_words(listed) else _with(listed, _as_numbers(texts, first_label))
    if in_words(listed) or (given and not all(map(is_number, texts))) or (given and set(texts) <= set(known.names)):
        return _from_words(listed, texts, known, network, classes)
    return _from_synsets(listed, texts, known, network, classes)


def _from_words(
    images: ImageList, texts: Sequence[str], known: ClassNames, network: str, classes: int | None
) -> ImageList:
    if len(known):
        return _with(images, known.numbers(texts))
    order = images.order if len(images.order) == classes else tuple(sorted(texts))
    if len(order) != classes:
        named = f"The list names {len(order)} classes in words ({_some(sorted(texts))})"
        raise ImageError(
            f"{named}, and {network} names none of its {classes if classes is not None else 'own'} classes.", GIVE
        )
    note = (
        f"{network} names none of its classes; the {classes} of the list are numbered as torchvision's ImageFolder "
        f"sorts them: {_some([f'{name} is {number}' for number, name in enumerate(order)])}."
    )
    return _with(images, {name: number for number, name in enumerate(order)}, note)


def _from_synsets(
    images: ImageList, texts: Sequence[str], known: ClassNames, network: str, classes: int | None
) -> ImageList:
    """ImageNet's numbers of WordNet, which a network may name itself, or count behind a class for the background."""
    wanted = images.classes
    synsets = [text for text in texts if SYNSET.fullmatch(text)]
    if wanted is None or not synsets:
        return images
    if all(known.find(text) for text in synsets):
        return _with(images, known.numbers(synsets))
    if classes == wanted + 1 and (not len(known) or is_background(known.names)):
        note = f"{network} has {classes} classes, one for the background in front of ImageNet's: labels count from it."
        return _with(images, {text: (class_number(text, "label", "", 0) or 0) + 1 for text in synsets}, note)
    return images


def _as_numbers(texts: Sequence[str], first_label: int) -> dict[str, int]:
    found = {text: class_number(text, "label", "the list", first_label) for text in texts}
    return {text: number for text, number in found.items() if number is not None}


def _with(images: ImageList, numbers: dict[str, int], note: str = "") -> ImageList:
    made = images.of(
        dataclasses.replace(
            one,
            label=one.label if one.class_name is None else numbers.get(one.class_name, one.label),
            target=one.target if one.target_name is None else numbers.get(one.target_name, one.target),
        )
        for one in images
    )
    made.classes = None  # they are numbers of that network now
    made.notes = (*images.notes, note) if note and note not in images.notes else images.notes
    return made


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:3]) + (", ..." if len(words) > 3 else "")
