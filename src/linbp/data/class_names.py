"""The names of a network's classes: which number does a name have?"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from linbp.data.class_numbers import SYNSET, imagenet_synsets
from linbp.errors import ImageError

__all__ = ["BACKGROUND", "ClassNames", "is_background", "same_name"]

BACKGROUND = ("background", "dummy", "none", "nothing", "other", "unlabeled", "unlabelled", "void")
"""What networks call a class in front of all others that stands for none of them."""

PLACEHOLDER = re.compile(r"(label|class)?[\s_-]*\d+", re.IGNORECASE)
"""A name that is only a number, such as LABEL_0, says nothing."""

SEPARATORS = frozenset({"Zs", "Zl", "Zp", "Cc", "Pd", "Pc", "Ps", "Pe", "Pi", "Pf"})
"""Unicode's categories of space, dashes, underscores, brackets and quotes."""

NEAR = 5
SHOWN = 3


def same_name(name: str) -> str:
    """A name without case, space, dashes, underscores, brackets, quotes, dots and commas: what is equal is one name.

    >>> same_name("Jack-o'-lantern") == same_name("jack_o_lantern")
    True
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(sign for sign in folded if unicodedata.category(sign) not in SEPARATORS and sign not in ".,'`’/")


def is_background(names: Sequence[str]) -> bool:
    """Whether the first of some names of classes stands for none of the others."""
    return bool(names) and same_name(names[0]) in BACKGROUND


class ClassNames:
    """The names of the classes of a network, in the order of its outputs.

    A name is found as it is written; else without regard to case, space, dashes and underscores; else among the
    synonyms that commas separate, as ImageNet's lists have them (`tabby, tabby cat`). A number of WordNet's
    (`n02123045`) is found among 1,000 names, and 1,001 with one for the background, as ImageNet's.

    Args:
        names: of the classes; none, or such as `LABEL_0`, if they say nothing.
        owner: whose they are, for messages.
        given: whether the user gave them in a list.
    """

    def __init__(self, names: Iterable[str], owner: str, *, given: bool = False) -> None:
        every = tuple(names)
        self.names = () if not given and all(PLACEHOLDER.fullmatch(name.strip()) for name in every) else every
        self.owner, self.given = owner, given
        self._levels: list[dict[str, list[int]]] = [defaultdict(list), defaultdict(list), defaultdict(list)]
        for number, name in enumerate(self.names):
            self._levels[0][unicodedata.normalize("NFC", name.strip())].append(number)
            self._levels[1][same_name(name)].append(number)
            for key in _synonyms(name):
                self._levels[2][key].append(number)

    def __len__(self) -> int:
        return len(self.names)

    def find(self, text: str) -> tuple[int, ...]:
        """The numbers of the classes that a name may mean: one, none, or several."""
        keys = (unicodedata.normalize("NFC", text.strip()), same_name(text))
        for level, key in zip(self._levels, keys, strict=False):
            if key in level:
                return tuple(level[key])
        found = {number for key in _synonyms(text) for number in self._levels[2].get(key, ())}
        return tuple(sorted(found)) or self._by_synset(text)

    def numbers(self, texts: Collection[str]) -> dict[str, int]:
        """The number of each name.

        Raises:
            ImageError: a name is none of the classes', with those that are near, or names several of them.
        """
        found = {text: self.find(text) for text in dict.fromkeys(texts)}
        if unknown := [text for text, numbers in found.items() if not numbers]:
            raise self._unknown(unknown, len(found))
        for text, numbers in found.items():
            if len(numbers) > 1:
                meant = " and ".join(f"{self.names[number]!r} ({number})" for number in numbers[:SHOWN])
                raise ImageError(
                    f"{text!r} names {len(numbers)} classes of {self.owner}: {meant}.",
                    "Write the whole name of the one that is meant; or the classes' numbers, from 0, for all of them.",
                )
        return {text: numbers[0] for text, numbers in found.items()}

    def near(self, text: str) -> list[str]:
        """Up to five names of classes that are most like a text, each with its number."""
        keys: dict[str, int] = {}
        for level in (self._levels[1], self._levels[2]):
            for key, numbers in level.items():
                keys.setdefault(key, numbers[0])
        close = difflib.get_close_matches(same_name(text), keys, n=2 * NEAR, cutoff=0.6)
        numbers = list(dict.fromkeys(keys[key] for key in close))[:NEAR]
        return [f"{self.names[number]} ({number})" for number in numbers]

    def _by_synset(self, text: str) -> tuple[int, ...]:
        synsets = imagenet_synsets() if SYNSET.fullmatch(text) else {}
        extra = len(self) - len(synsets)
        if text in synsets and (extra == 0 or (extra == 1 and is_background(self.names))):
            return (synsets[text] + extra,)
        return ()

    def _unknown(self, texts: Sequence[str], count: int) -> ImageError:
        what = f"{self.owner} has no class called {texts[0]!r}."
        if len(texts) > 1:
            some = ", ".join(map(repr, texts[:SHOWN])) + (", ..." if len(texts) > SHOWN else "")
            what = f"{self.owner} has no classes called {some} ({len(texts)} of {count} names)."
        near = self.near(texts[0])
        first = f"Near {texts[0]!r}: {', '.join(near)}." if near else f"Its first classes: {', '.join(self._first())}."
        names = "the names of the network's classes, in their order"
        give = (
            f"correct the list: it has {names}." if self.given else f"give {names}, with --classes FILE (classes=...)."
        )
        return ImageError(what, f"{first} Rename it; or {give}")

    def _first(self) -> list[str]:
        return [f"{name} ({number})" for number, name in enumerate(self.names[:NEAR])]


def _synonyms(name: str) -> list[str]:
    """What commas separate, as keys."""
    return list(dict.fromkeys(key for part in name.split(",") if (key := same_name(part))))
