"""Faults are collected, so that a user need not find them one after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from linbp.errors import LinbpError, SuiteError

__all__ = ["Faults"]


class Faults:
    """The faults that were found so far."""

    def __init__(self) -> None:
        self.found: list[LinbpError] = []

    @contextlib.contextmanager
    def collected(self, where: str = "") -> Iterator[None]:
        """Keep a fault, with the place where it was found, and go on."""
        try:
            yield
        except SuiteError as fault:
            self.found.extend(fault.faults)
        except LinbpError as fault:
            self.found.append(type(fault)(f"{where}{fault.message}", fault.hint) if where else fault)

    def raise_any(self) -> None:
        """Raise one error for all of them, if there are any; one that several surrogates share is told once."""
        if self.found:
            raise SuiteError.of(list({(one.message, one.hint): one for one in self.found}.values()))
