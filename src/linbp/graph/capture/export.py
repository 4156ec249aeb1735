"""Export the user's module."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Collection, Iterator
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from linbp.errors import CaptureError
from linbp.graph.capture.where import first_line, user_line
from linbp.graph.capture.written_gradients import Function, plain_checkpoints, recorded

__all__ = ["export", "refuse_untraceable"]

EXAMPLE_BATCH = 2


def export(
    module: nn.Module, shape: tuple[int, ...], name: str, *, written: Collection[Function] | None = None
) -> ExportedProgram:
    """Export a module, which is in evaluation mode, with a dynamic batch size.

    Args:
        module: takes a batch (N, *shape).
        shape: the shape of one input, without the batch.
        name: what errors call the network.
        written: functions whose own backward passes are kept, and those of hooks (see `written_gradients`).

    Returns:
        The program, in the training dialect of `torch.export` (`aten` operations before any decomposition).

    Raises:
        CaptureError: `torch.export` cannot trace the module's forward.
    """
    tensors = [tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point()]
    like = tensors[0] if tensors else torch.empty(0)
    example = torch.full((EXAMPLE_BATCH, *shape), 0.5, dtype=like.dtype, device=like.device)
    try:
        with _traceable(), plain_checkpoints() if written is None else recorded(written):
            return torch.export.export(module, (example,), dynamic_shapes=_free_batch(module))
    except Exception as fault:
        raise CaptureError(
            f"{name} cannot be captured: {user_line(fault)}{first_line(fault)}",
            "torch.export must be able to trace its forward at input shape "
            f"(batch, {', '.join(map(str, shape))}): no branching on the values of tensors, no .item() or numpy in "
            "forward. Try torch.export.export(module, (x,)) on it alone to see the line.",
        ) from fault


def _free_batch(module: nn.Module) -> Any:
    """The batch size is free, also where a forward takes `*args`."""
    free = {0: Dim.AUTO}
    parameters = list(inspect.signature(module.forward).parameters.values())
    several = bool(parameters) and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL
    return ((free,),) if several else (free,)


def refuse_untraceable(module: nn.Module, name: str) -> None:
    """Refuse what has no gradient, or cannot be traced, whatever it computes.

    Raises:
        CaptureError: there is such a layer.
    """
    for path, child in module.named_modules():
        if isinstance(child, torch.jit.ScriptModule):
            what = "is a TorchScript program, which cannot be traced"
        elif ".quantized" in type(child).__module__ and type(child).__module__.startswith("torch."):
            what = "is quantised, and has no gradient"
        else:
            continue
        raise CaptureError(
            f"{f'The layer {path} of {name}' if path else name} {what}.",
            "As a surrogate, linbp needs the network that it was made from; as a victim it takes this one.",
        )


@contextlib.contextmanager
def _traceable() -> Iterator[None]:
    """Inside, `inference_mode` is what it is for the gradient, `no_grad`: the one leaves no trace in a program."""

    def enter(mode: Any) -> None:
        mode.linbp_outer = torch.is_grad_enabled()
        torch._C._set_grad_enabled(mode.linbp_outer and not mode.mode)

    def leave(mode: Any, *fault: Any) -> None:
        torch._C._set_grad_enabled(mode.linbp_outer)

    kind = torch.inference_mode
    with mock.patch.object(kind, "__enter__", enter), mock.patch.object(kind, "__exit__", leave):
        yield
