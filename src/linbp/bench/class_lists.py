"""Do the networks of a suite mean the same by a class?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from linbp.errors import ModelError

__all__ = ["check_class_lists"]

SHARE = 0.02
"""Of the classes, whose names stand elsewhere in another list before the lists are held to be in another order. Words
that name two classes, such as crane, differ from list to list."""

HINT = "Use networks of the same classes in the same order; if their first ones are the labels', trust_labels = true."


def check_class_lists(counts: Mapping[str, int], names: Mapping[str, Sequence[str]]) -> None:
    """Refuse networks of different numbers of classes, and networks that name the same classes in another order.

    Lists that merely use other words are not compared: nobody knows whether they mean the same.

    Args:
        counts: how many classes each network has, as far as that is known.
        names: the classes of those networks that name them.

    Raises:
        ModelError: they differ.
    """
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise ModelError(f"The networks differ in their number of classes ({listed}).", HINT)
    lists = {name: [_plain(one) for one in classes] for name, classes in names.items() if classes}
    for first, second in ((one, other) for one in list(lists)[:1] for other in lists if other != one):
        places = {word: place for place, word in enumerate(lists[second])}
        moved = [
            (place, places[word])
            for place, (word, other) in enumerate(zip(lists[first], lists[second], strict=False))
            if word != other and word in places
        ]
        if len(moved) > max(1, SHARE * len(lists[first])):
            one, other = moved[0]
            raise ModelError(
                f"The networks have their classes in another order: {names[first][one]!r} is class {one} of {first}, "
                f"and class {other} of {second}.",
                HINT,
            )


def _plain(name: str) -> str:
    """A class's first word or words, without case and signs."""
    return re.sub(r"[\W_]+", " ", name.partition(",")[0]).strip().casefold()
