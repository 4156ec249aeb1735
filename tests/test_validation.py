"""Numbers and words that are let through, and those that are refused."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest

from linbp.errors import RecipeError
from linbp.validation import check_range, number, one_of, read_fraction, whole


@dataclasses.dataclass
class Part:
    """Stands for a part of a recipe."""

    value: Any
    grammar_name: str = "part"


CHECKS: dict[str, tuple[Callable[[Any], None], list[Any], list[Any]]] = {
    "number": (
        lambda value: number(Part(value), "value", least=0, most=2),
        [0, 2, 0.5],
        [-1, 2.1, math.nan, math.inf, True, "1", None],
    ),
    "number without a top": (
        lambda value: number(Part(value), "value", least=0),
        [0, 1e300, 10**400],
        [-1, math.inf],
    ),
    "whole": (lambda value: whole(Part(value), "value", least=1), [1, 10**400], [0, 1.0, True, "1", None]),
    "one of": (
        lambda value: one_of(Part(value), "value", ("a", None)),
        ["a", None],
        ["b", 0, ""],
    ),
    "range": (
        lambda value: check_range("the_value", value, least=0, below=1),
        [0, 0.99],
        [1, -0.1, math.nan, False, "0"],
    ),
    "whole range": (lambda value: check_range("the_value", value, above=0, whole=True), [1, 10**400], [0, 1.0, True]),
}


@pytest.mark.parametrize("name", CHECKS)
def test_what_fits_is_let_through_and_all_else_refused_with_a_hint(name: str) -> None:
    check, fitting, others = CHECKS[name]
    for value in fitting:
        check(value)
    for value in others:
        with pytest.raises(RecipeError, match="value") as refused:
            check(value)
        assert refused.value.hint


@pytest.mark.parametrize(
    ("text", "value"), [("8/255", 8 / 255), ("1.6/255", 1.6 / 255), ("0.03", 0.03), ("1e-2", 0.01), ("3", 3.0)]
)
def test_fractions_are_the_numbers_that_python_computes(text: str, value: float) -> None:
    assert read_fraction(text) == value


@pytest.mark.parametrize("text", ["", "a", "1/0", "1/2/3", "1/", "9" * 400])
def test_what_is_no_number_is_no_fraction(text: str) -> None:
    with pytest.raises((ValueError, ZeroDivisionError, OverflowError)):
        read_fraction(text)
