"""Checks that the parameters of rules share."""

from __future__ import annotations

import math

from linbp.errors import RuleError

__all__ = ["finite"]


def finite(name: str, value: float, *, least: float) -> None:
    """Refuse what is not a finite number of at least `least`.

    Raises:
        RuleError: naming the parameter.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < least:
        raise RuleError(f"{name} is {value!r}.", f"Give a finite number of at least {least:g}.")
