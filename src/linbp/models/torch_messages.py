"""Torch's own messages, kept from people who get the same fault in two lines."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator

__all__ = ["suppress_torch_messages"]


@contextlib.contextmanager
def suppress_torch_messages() -> Iterator[None]:
    """Inside, warnings are not shown, nor what torch logs and prints of its graphs."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        with contextlib.redirect_stderr(io.StringIO()):
            yield
