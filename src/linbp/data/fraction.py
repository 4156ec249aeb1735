"""Numbers as people write radii and steps."""

from __future__ import annotations

from fractions import Fraction

__all__ = ["read_fraction"]


def read_fraction(text: str) -> float:
    """The number that `8/255`, `1.6/255` or `0.03` means, as Python computes it.

    Raises:
        ValueError, OverflowError, ZeroDivisionError: no such number.
    """
    numbers = [float(Fraction(part)) for part in text.split("/")]
    if len(numbers) > 2:
        raise ValueError(f"{text!r} has two divisions")
    return numbers[0] if len(numbers) == 1 else numbers[0] / numbers[1]
