"""Whether a backward pass computes the rules' gradient, or the ordinary one that a rule compares with."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

__all__ = ["BackwardMode"]


class BackwardMode(threading.local):
    """What a network's backward pass computes, thread by thread.

    Attributes:
        ordinary: whether every place ignores its rule.
        measured_at: the first module of a branch that measures the gradient at its input without computing it.
        norms: what it measured, one L2 norm an image.
    """

    def __init__(self) -> None:
        self.ordinary = False
        self.measured_at: object = None
        self.norms: torch.Tensor | None = None

    def __reduce__(self) -> tuple[type[BackwardMode], tuple[()]]:
        """A copy of a network starts with the rules' gradient, whatever the original is doing."""
        return BackwardMode, ()

    @contextlib.contextmanager
    def as_ordinary(self, measured_at: object = None) -> Iterator[None]:
        """Inside, backward passes are ordinary ones, and end at `measured_at` with the norms there."""
        before = self.ordinary, self.measured_at, self.norms
        self.ordinary, self.measured_at, self.norms = True, measured_at, None
        try:
            yield
        finally:
            self.ordinary, self.measured_at, self.norms = before
