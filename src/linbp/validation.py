"""Numbers and words that users give, checked against what they may be."""

from __future__ import annotations

import math
import operator
from fractions import Fraction
from typing import Any

from linbp.errors import RecipeError
from linbp.registry import typed_name

__all__ = ["check_range", "number", "one_of", "plain_whole", "read_fraction", "whole"]


def plain_whole(value: Any) -> Any:
    """Python's own whole number for one of NumPy's or PyTorch's; anything else as it is."""
    try:
        return value if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return value


def read_fraction(text: str) -> float:
    """The number that `8/255`, `1.6/255` or `0.03` means, as Python computes it.

    Raises:
        ValueError, OverflowError, ZeroDivisionError: no such number.
    """
    numbers = [float(Fraction(part)) for part in text.split("/")]
    if len(numbers) > 2:
        raise ValueError(f"{text!r} has two divisions")
    return numbers[0] if len(numbers) == 1 else numbers[0] / numbers[1]


def number(part: Any, name: str, *, least: float, most: float = math.inf) -> None:
    """Check that a parameter of a part is a finite number between two bounds, for use in `__post_init__`.

    Raises:
        RecipeError: it is not.
    """
    value = getattr(part, name)
    if not _is_number(value) or not least <= value <= most:
        bounds = f"from {least:g} to {most:g}" if math.isfinite(most) else f"of at least {least:g}"
        raise RecipeError(f"{typed_name(part)}({name}={value}) is out of range.", f"{name} is a number {bounds}.")


def whole(part: Any, name: str, *, least: int) -> None:
    """Check that a parameter of a part is a whole number of at least `least`, for use in `__post_init__`.

    Raises:
        RecipeError: it is not.
    """
    value = getattr(part, name)
    if not _is_number(value, whole=True) or value < least:
        raise RecipeError(
            f"{typed_name(part)}({name}={value}) is out of range.", f"{name} is a whole number of at least {least}."
        )


def one_of(part: Any, name: str, allowed: tuple[Any, ...]) -> None:
    """Check that a parameter of a part is one of a few words, for use in `__post_init__`.

    Raises:
        RecipeError: it is not.
    """
    value = getattr(part, name)
    if value not in allowed:
        words = ", ".join("none" if word is None else str(word) for word in allowed)
        raise RecipeError(f"{typed_name(part)}({name}={value}) is not known.", f"{name} is one of: {words}.")


def check_range(
    name: str,
    value: Any,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    whole: bool = False,
) -> None:
    """Refuse a setting of a training that is no finite number, or lies out of its range.

    Args:
        name: of the setting, as in code.
        value: what was given.
        least, above: the smallest value, or one that it must exceed.
        most, below: the largest value, or one that it must stay below.
        whole: whether it must be a whole number.

    Raises:
        RecipeError: it does not fit.

    >>> check_range("label_smoothing", 1, least=0, below=1)
    Traceback (most recent call last):
    ...
    linbp.errors.RecipeError: The label smoothing is 1.
    Give a number of at least 0 and below 1.
    """
    limits = (
        ("of at least", operator.ge, least),
        ("above", operator.gt, above),
        ("at most", operator.le, most),
        ("below", operator.lt, below),
    )
    given = [(words, compare, limit) for words, compare, limit in limits if limit is not None]
    if _is_number(value, whole) and all(compare(value, limit) for _, compare, limit in given):
        return
    bounds = " and ".join(f"{words} {limit:g}" for words, _, limit in given)
    words = name.replace("_", " ")
    raise RecipeError(
        f"{'Epochs are' if name == 'epochs' else f'The {words} is'} {value}.",
        f"Give a {'whole ' if whole else ''}number {bounds}".rstrip() + ".",
    )


def _is_number(value: Any, whole: bool = False) -> bool:
    """Whether a value is a finite number, and a whole one where asked; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)  # whole numbers may be too large for a float
