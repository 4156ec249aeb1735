"""Export the user's module and leave everything else as it was."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from linbp.errors import CaptureError
from linbp.models.torch_messages import suppress_torch_messages

__all__ = ["export", "untouched"]

EXAMPLE_BATCH = 2


@contextlib.contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; training flags and random states are restored at the end, also after an error."""
    flags = [(child, child.training) for child in module.modules()]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        for child, _ in flags:
            child.training = False
        with torch.random.fork_rng():
            yield
    finally:
        for child, training in flags:
            child.training = training
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def export(module: nn.Module, shape: tuple[int, ...], name: str) -> ExportedProgram:
    """Export a module in evaluation mode with a dynamic batch size.

    Args:
        module: takes a batch (N, *shape).
        shape: the shape of one input, without the batch.
        name: what errors call the network.

    Returns:
        The program, in the training dialect of `torch.export` (`aten` operations before any decomposition).

    Raises:
        CaptureError: `torch.export` cannot trace the module's forward.
    """
    tensors = [tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point()]
    like = tensors[0] if tensors else torch.empty(0)
    example = torch.full((EXAMPLE_BATCH, *shape), 0.5, dtype=like.dtype, device=like.device)
    with untouched(module):
        try:
            with suppress_torch_messages():
                return torch.export.export(module, (example,), dynamic_shapes=({0: Dim.AUTO},))
        except Exception as fault:
            raise CaptureError(
                f"{name} cannot be captured: {_first_line(fault)}",
                "torch.export must be able to trace its forward at input shape "
                f"(batch, {', '.join(map(str, shape))}): no branching on the values of tensors, no .item() or numpy in "
                "forward. Try torch.export.export(module, (x,)) on it alone to see the line.",
            ) from fault


def _first_line(fault: BaseException) -> str:
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return f"{type(fault).__name__}: {lines[0][:300]}" if lines else type(fault).__name__
