"""What can go wrong with a request, and which of that may pass."""

from __future__ import annotations

import datetime
import email.utils
import time
from collections.abc import Callable
from typing import Any, TypeVar

from linbp.errors import ModelError
from linbp.models.extras import require

__all__ = ["LONGEST", "PASSING", "SOURCE", "PassingFault", "persistent", "retry_after"]

SOURCE = "A model behind HTTP or gRPC"
"""What needs the packages of the extra `http`, for messages."""

Returned = TypeVar("Returned")

FIRST, LONGEST = 0.5, 60.0
"""Seconds before the first repetition and the most before a later one; a server that asks for more stops the work."""

PASSING = (429, 500, 502, 503, 504)
"""Statuses after which the same request may succeed."""


class PassingFault(Exception):
    """A fault that may pass: no connection, no answer in time, an overloaded server.

    Args:
        message: what happened.
        after: seconds after which the server wants to be asked again, where it says so.
    """

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.message, self.after = message, after


def persistent(ask: Callable[[], Returned], retries: int, server: str) -> Returned:
    """What a request returns, which is repeated after a fault that may pass: after 0.5, 1, 2, ... seconds at most.

    Args:
        ask: sends the request.
        retries: how often it is repeated.
        server: what messages call it.

    Raises:
        ModelError: it fails in another way, or every time, or the server wants to be left alone for long.
    """
    tenacity: Any = require("tenacity", "http", SOURCE)
    backoff = tenacity.wait_random_exponential(multiplier=FIRST, max=LONGEST)

    def wait(state: Any) -> float:
        fault = None if state.outcome is None else state.outcome.exception()
        after = fault.after if isinstance(fault, PassingFault) else None
        if after is not None and after > LONGEST:
            raise ModelError(
                f"{server} wants to be asked again in {after:.0f} seconds.",
                "Run the same command then: what was answered is kept.",
            )
        return float(backoff(state)) if after is None else after

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(PassingFault),
        stop=tenacity.stop_after_attempt(retries + 1),
        wait=wait,
        reraise=True,
    )
    try:
        found: Returned = retrying(ask)
        return found
    except PassingFault as fault:
        times = "once" if retries == 0 else f"{retries + 1} times"
        raise ModelError(
            f"{server} was asked {times} in vain: {fault.message.rstrip('.')}.",
            "Is it running, and is the address right? Run the same command again: what was answered is kept. "
            '"retries" and "timeout" of the JSON file allow more.',
        ) from None


def retry_after(value: str | None) -> float | None:
    """The seconds that a Retry-After header asks for: a number, or a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=datetime.timezone.utc)
    return max(0.0, date.timestamp() - time.time())
