"""No mode of the caller's inside: networks compute the same wherever they are called."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["ordinary", "plain_mode"]


DEVICES = ("cpu", "cuda", "mps", "xpu")
"""Kinds of devices that cast automatically."""


@contextlib.contextmanager
def plain_mode() -> Iterator[None]:
    """Inside, gradients are taken, nothing is cast automatically, and compiled functions run as they are written.

    A network that says such things itself, in its forward, still gets them.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in DEVICES:
            if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if "torch._dynamo" in sys.modules:  # else nothing has been compiled, and importing it takes a second
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def ordinary(value: Any) -> Any:
    """The same value; of a tensor made under `inference_mode`, through which no gradient passes, a copy."""
    return value.clone() if isinstance(value, torch.Tensor) and value.is_inference() else value
