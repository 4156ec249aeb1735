"""What can go wrong, each with a message that says what was seen and a hint that says what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BudgetError",
    "CaptureError",
    "ImageError",
    "LinbpError",
    "ModelError",
    "RecipeError",
    "RuleError",
    "StoreError",
    "nearest_name",
]


class LinbpError(Exception):
    """A fault that the user can mend: `message` says what was seen, `hint` what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class ModelError(LinbpError):
    """A network cannot be found, loaded or asked, or answers with something other than finite logits."""


class LogitsError(ModelError):
    """A network answers some images with logits that are not finite; `rows` are their places in the batch."""

    def __init__(self, message: str, hint: str, rows: tuple[int, ...]) -> None:
        super().__init__(message, hint)
        self.rows = rows


class CaptureError(LinbpError):
    """A network cannot be turned into a graph."""


class RuleError(LinbpError):
    """A backward rule does not fit the network: its position or its sites are not there."""


class ImageError(LinbpError):
    """An image, a label or a list of them is missing, broken or out of range."""


class RecipeError(LinbpError):
    """A recipe is misspelt, contradicts itself, or holds a part that would do nothing."""


class BudgetError(LinbpError):
    """A radius, a step or a norm that no image can obey."""


class StoreError(LinbpError):
    """A folder of results cannot be written, or holds results of other settings."""


def nearest_name(wanted: str, known: Iterable[str]) -> str:
    """The hint for a misspelt name: the nearest known one, or all of them when none is near."""
    names = sorted(known)
    close = difflib.get_close_matches(wanted.lower(), names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return "Known: " + ", ".join(names) + "." if names else "None is known."
