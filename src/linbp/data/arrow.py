"""What pyarrow says about a file that it cannot read, in a user's words."""

from __future__ import annotations

__all__ = ["arrow_reason"]


def arrow_reason(error: Exception) -> str:
    """The message in one line, without pyarrow's name for content that is no file, and without a full stop."""
    text = " ".join(str(error).split()).removeprefix("Could not open Parquet input source '<Buffer>': ")
    return text[:200].rstrip(".")
