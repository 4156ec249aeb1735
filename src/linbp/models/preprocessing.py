"""Size, mean and standard deviation as people write them, and what lies off the scale of images in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from linbp.errors import ModelError, nearest_name

__all__ = ["INTERPOLATIONS", "read_preprocessing"]

INTERPOLATIONS = ("bilinear", "bicubic", "nearest")

MOST = 2.0
"""The largest mean and standard deviation that images in [0, 1] are taken to have; 255 times as large is a mistake."""

Preprocessing = tuple[tuple[int, int, int], tuple[float, ...], tuple[float, ...]]


def read_preprocessing(input_size: Any, mean: Any, std: Any, interpolation: str = "bilinear") -> Preprocessing:
    """(channels, height, width), means and standard deviations, one a channel.

    Args:
        input_size: three numbers, or one for a square RGB image.
        mean: one number a channel, or one for all channels.
        std: likewise, above 0.
        interpolation: one of `INTERPOLATIONS`.

    Raises:
        ModelError: something else, or numbers on the scale of 0 to 255.
    """
    size = _size(input_size)
    if interpolation not in INTERPOLATIONS:
        raise ModelError(
            f"Interpolation {interpolation!r} is not known.", nearest_name(str(interpolation), INTERPOLATIONS)
        )
    means, deviations = _of_channels("mean", mean, size[0]), _of_channels("std", std, size[0])
    if min(deviations) <= 0:
        raise ModelError(f"std {_words(deviations)} of {size[0]} channels is not above 0.", "Give positive numbers.")
    if max(map(abs, means)) > MOST or max(deviations) > MOST:
        raise ModelError(
            f"mean {_words(means)} and std {_words(deviations)} are not on the scale of images in [0, 1].",
            _scaled_down(means, deviations),
        )
    return size, means, deviations


def _scaled_down(means: Sequence[float], deviations: Sequence[float]) -> str:
    """The hint for numbers on the scale of 0 to 255."""
    if max(map(abs, means)) > MOST and max(deviations) == 1:
        # Only the mean is taken off: the network takes levels.
        return f"A network that takes levels of 0 to 255: mean={_words([m / 255 for m in means])}, std={1 / 255:.4g}."
    less = [
        [value / 255 if max(map(abs, values)) > MOST else value for value in values] for values in (means, deviations)
    ]
    if not any(means) and min(deviations) == max(deviations):
        return f"Images come in [0, 1] already: leave std={deviations[0]:g} out."
    return (
        f"Divide by 255: mean={_words(less[0])}, std={_words(less[1])}. (A network that takes levels of 0 to 255 has "
        "std=1/255.)"
    )


def _size(given: Any) -> tuple[int, int, int]:
    numbers, alone = _numbers("input_size", given, _SIZE)
    if len(numbers) != (1 if alone else 3) or any(number != int(number) or number < 1 for number in numbers):
        raise ModelError(f"input_size is {_shown(given)}.", _SIZE)
    first, *rest = map(int, numbers)
    if not rest:
        return 3, first, first
    if rest[1] in (1, 3) and first not in (1, 3):
        raise ModelError(f"input_size is {(first, *rest)}: channels come first.", f"Give {(rest[1], first, rest[0])}.")
    return first, rest[0], rest[1]


_SIZE = "Give (channels, height, width), such as (3, 224, 224); one number is the side of a square RGB image."


def _of_channels(what: str, given: Any, channels: int) -> tuple[float, ...]:
    hint = (
        f"Give one number, or one for each of {channels} channels, on the scale of [0, 1]."
        if channels > 1
        else "Give one number, on the scale of [0, 1]."
    )
    numbers, alone = _numbers(what, given, hint)
    if not alone and len(numbers) != channels:
        raise ModelError(f"{what} {_shown(given)} does not fit {channels} channels.", hint)
    return tuple(map(float, numbers * channels if alone else numbers))


def _numbers(what: str, given: Any, hint: str) -> tuple[list[float], bool]:
    """Finite numbers out of a sequence, an array or a tensor, or out of one number alone; and whether it was one."""
    values = given.tolist() if hasattr(given, "tolist") else given
    alone = isinstance(values, int | float)
    try:
        numbers = [values] if alone else [getattr(value, "item", lambda value=value: value)() for value in values]
        fine = bool(numbers) and all(
            isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
            for number in numbers
        )
    except (TypeError, ValueError, RuntimeError):
        fine = False
    if not fine:
        raise ModelError(f"{what} is {_shown(given)}.", hint)
    return numbers, alone


def _shown(given: Any) -> str:
    """Something of the user's as it is written, in one short line."""
    return " ".join(repr(given).split())[:60]


def _words(numbers: Sequence[float]) -> str:
    """One number where all are equal, else all of them."""
    if len(set(numbers)) == 1:
        return f"{numbers[0]:.4g}"
    return f"({', '.join(f'{number:.4g}' for number in numbers)})"
