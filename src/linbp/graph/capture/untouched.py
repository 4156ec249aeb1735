"""Leave the user's module, and every random state, as they were."""

from __future__ import annotations

import collections
import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["untouched"]

DEEPEST = 3
"""Levels of lists in lists that are put back."""


@contextlib.contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Restore attributes, buffers and random states at the end, also after an error.

    A forward may count its calls, keep what it computed last, or write into buffers; the calls at capture are not the
    user's. Parameters are trusted to stay: a copy of them would take as much memory as the network.
    """
    children = [child for child in module.modules() if not isinstance(child, torch.jit.ScriptModule)]
    before = [(child, dict(vars(child)), list(_containers(vars(child)))) for child in children]
    kept = [(tensor, tensor.detach().clone()) for tensor in _loose(module)]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        for child, attributes, containers in before:
            _put_back(vars(child), attributes)
            for container, content in containers:
                _put_back(container, content)
        with torch.no_grad():
            for tensor, value in kept:
                if not torch.equal(tensor.detach(), value):
                    tensor.detach().copy_(value)
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def _loose(module: nn.Module) -> Iterator[torch.Tensor]:
    """Tensors that a forward may write into: buffers and attributes."""
    for child in module.modules():
        for value in (*child._buffers.values(), *vars(child).values()):
            if isinstance(value, torch.Tensor) and value.device.type != "meta":
                yield value


def _containers(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """The lists, dictionaries and sets in a value, each with a copy."""
    parts = value.values() if isinstance(value, dict) else value
    for part in parts:
        if isinstance(part, list | dict | set | collections.deque):
            yield part, part.copy()
            if depth < DEEPEST:
                yield from _containers(part, depth + 1)


def _put_back(container: Any, content: Any) -> None:
    if isinstance(container, dict):
        if list(container) == list(content) and all(container[key] is content[key] for key in content):
            return
        container.clear()
        container.update(content)
    elif isinstance(container, set):
        if container != content:
            container.clear()
            container.update(content)
    elif len(container) != len(content) or any(a is not b for a, b in zip(container, content, strict=True)):
        container.clear()
        container.extend(content)
