"""Suppress torch's own messages, where linbp reports the same error in two lines."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator

__all__ = ["suppress_torch_messages"]


@contextlib.contextmanager
def suppress_torch_messages() -> Iterator[None]:
    """Show no warnings inside, and nothing that torch logs and prints about its graphs."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        with contextlib.redirect_stderr(io.StringIO()):
            yield
