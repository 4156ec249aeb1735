"""Errors that the user can fix: a message says what is wrong, a hint says what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BudgetError",
    "CaptureError",
    "ImageError",
    "LabelsError",
    "LinbpError",
    "LinbpWarning",
    "ModelError",
    "RecipeError",
    "RuleError",
    "StoreError",
    "SuiteError",
    "nearest_name",
]


MANY, NEAR = 150, 5
"""Of more names than that, a hint has room for only so many."""


class LinbpError(Exception):
    """An error that the user can fix: `message` says what is wrong, `hint` what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class LinbpWarning(UserWarning):
    """What a user should know of a result that was computed all the same."""


class ModelError(LinbpError):
    """A network cannot be found, loaded or run, or its output is something other than finite logits."""


class LogitsError(ModelError):
    """A network gives logits that are not finite for some images; `rows` are their indices in the batch."""

    def __init__(self, message: str, hint: str, rows: tuple[int, ...]) -> None:
        super().__init__(message, hint)
        self.rows = rows


class LabelsError(ModelError):
    """Labels are not, or seem not to be, the classes of a network that is asked; another network may have them."""


class CaptureError(LinbpError):
    """A network cannot be turned into a graph."""


class RuleError(LinbpError):
    """A backward rule does not fit the network: it has no such position, site or branch."""


class ImageError(LinbpError):
    """An image, a label or a list of them is missing, broken or out of range."""


class RecipeError(LinbpError):
    """A recipe is misspelt, contradicts itself, or has a part that would have no effect."""


class BudgetError(LinbpError):
    """A radius, a step size or a norm that is out of range."""


class SuiteError(LinbpError):
    """Faults of a suite, or of the tasks of its run; `faults` has each of them, at least one."""

    def __init__(self, message: str, hint: str = "", faults: Iterable[LinbpError] = ()) -> None:
        super().__init__(message, hint)
        self.faults = tuple(faults) or (self,)

    @classmethod
    def of(cls, faults: Iterable[LinbpError]) -> LinbpError:
        """One error for all faults, at least one: each once, or the fault itself where there is only one."""
        each = list({(fault.message, fault.hint): fault for fault in faults}.values())
        if len(each) == 1:
            return each[0]
        return cls("\n".join(fault.message for fault in each), each[0].hint, each)


class StoreError(LinbpError):
    """A folder of results cannot be written, or holds the results of other settings."""


def nearest_name(wanted: str, known: Iterable[str]) -> str:
    """The hint for a misspelt name: the closest known name; where none is close all of them, or five of many."""
    names = sorted(known)
    close = difflib.get_close_matches(wanted.lower(), names, n=NEAR, cutoff=0.6 if len(names) <= MANY else 0.3)
    if len(names) > MANY:
        near = close or names[:NEAR]
        return f"Near names of {len(names):,}: {', '.join(near)}."
    if close:
        return f"Did you mean {close[0]!r}?"
    return "Known: " + ", ".join(names) + "." if names else "None is known."
