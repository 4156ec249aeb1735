"""Numbers that settings of a training give, checked against their range."""

from __future__ import annotations

import math
import operator
from typing import Any

from linbp.errors import RecipeError

__all__ = ["check_range"]


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
    """Refuse a setting that is no finite number, or lies out of its range.

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
    kind = int if whole else (int, float)
    fits = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
    limits = (
        ("of at least", operator.ge, least),
        ("above", operator.gt, above),
        ("at most", operator.le, most),
        ("below", operator.lt, below),
    )
    given = [(words, compare, limit) for words, compare, limit in limits if limit is not None]
    if fits and all(compare(value, limit) for _, compare, limit in given):
        return
    bounds = " and ".join(f"{words} {limit:g}" for words, _, limit in given)
    words = name.replace("_", " ")
    raise RecipeError(
        f"{'Epochs are' if name == 'epochs' else f'The {words} is'} {value}.",
        f"Give a {'whole ' if whole else ''}number {bounds}".rstrip() + ".",
    )
