"""Which of two walks a backward pass is on: the rule's, or the ordinary one that a rule compares with."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

__all__ = ["Walk"]


class Walk(threading.local):
    """The state of a network's backward pass.

    Attributes:
        ordinary: whether every place passes its ordinary gradient.
        measured_at: the first module of a branch that measures the gradient at its input without computing it.
        norms: what it measured, one L2 norm an image.
    """

    def __init__(self) -> None:
        self.ordinary = False
        self.measured_at: object = None
        self.norms: torch.Tensor | None = None

    def __reduce__(self) -> tuple[type[Walk], tuple[()]]:
        """A copy of a network starts on the rule's walk, whatever the original is doing."""
        return Walk, ()

    @contextlib.contextmanager
    def as_ordinary(self, measured_at: object = None) -> Iterator[None]:
        """Inside, backward passes are ordinary ones, and end at `measured_at` with the norms there."""
        before = self.ordinary, self.measured_at, self.norms
        self.ordinary, self.measured_at, self.norms = True, measured_at, None
        try:
            yield
        finally:
            self.ordinary, self.measured_at, self.norms = before
