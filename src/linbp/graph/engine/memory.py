"""What a rule keeps from place to place in a backward pass, and networks whose gradient takes several of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

__all__ = ["Memory", "Remembering", "remembered_gradient"]


class Memory(threading.local):
    """What a rule keeps from place to place while one gradient of one batch is taken, thread by thread.

    It is empty when the first backward pass begins, and emptied after the last. The thread is the one that runs the
    passes, which need not be the caller's: on a GPU it is one of PyTorch's own.

    Args:
        walks: how many backward passes the rule takes for one gradient. That of the last one is the gradient.

    Attributes:
        walk: which of them is running, from 0.
        kept: what the rule put there, under keys of its own.
    """

    def __init__(self, walks: int = 1) -> None:
        self.walks, self.walk = walks, 0
        self.kept: dict[Any, Any] = {}

    def __reduce__(self) -> tuple[type[Memory], tuple[int]]:
        """A copy begins empty, whatever the original is doing."""
        return Memory, (self.walks,)


def remembered_gradient(
    outputs: Sequence[torch.Tensor],
    inputs: Sequence[torch.Tensor],
    gradients: Sequence[torch.Tensor],
    memories: Sequence[Memory],
) -> tuple[torch.Tensor, ...]:
    """The gradients at the inputs, after as many backward passes as the memories ask for.

    Args:
        outputs: of a network with rules, with a graph behind.
        inputs: tensors of that graph.
        gradients: at the outputs.
        memories: the rules'.
    """
    if not memories:
        return _walked(outputs, inputs, gradients, memories)
    found: list[tuple[torch.Tensor, ...]] = []
    with torch.enable_grad():
        start = outputs[0].new_zeros(()).requires_grad_()
        end = _InBackwardPass.apply(start, lambda: found.append(_walked(outputs, inputs, gradients, memories)))
    torch.autograd.grad(end, start, allow_unused=True)
    return found[0]


class _InBackwardPass(torch.autograd.Function):
    """Calls something in a backward pass, and so in the thread that runs those of a tensor's device.

    Backward passes that are begun there run in the same thread, and before anything else that waits for it.
    """

    @staticmethod
    def forward(ctx: Any, start: torch.Tensor, call: Callable[[], None]) -> torch.Tensor:
        ctx.call = call
        return start.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *_: torch.Tensor) -> tuple[None, None]:
        ctx.call()
        return None, None


def _walked(
    outputs: Sequence[torch.Tensor],
    inputs: Sequence[torch.Tensor],
    gradients: Sequence[torch.Tensor],
    memories: Sequence[Memory],
) -> tuple[torch.Tensor, ...]:
    """The same, in the thread that runs backward passes already."""
    walks = max((memory.walks for memory in memories), default=1)
    found: tuple[torch.Tensor, ...] = ()
    try:
        for walk in range(walks):
            for memory in memories:
                memory.walk = max(walk - walks + memory.walks, 0)  # rules of fewer passes remember the last ones
                if memory.walk == 0:
                    memory.kept.clear()
            found = torch.autograd.grad(
                outputs, inputs, gradients, retain_graph=walk + 1 < walks, allow_unused=True, materialize_grads=True
            )
    finally:
        for memory in memories:
            memory.walk = 0
            memory.kept.clear()
    return found


class Remembering(nn.Module):
    """A network with rules that remember: each call is one gradient of its own.

    Args:
        network: with the rules' gradient.
        memories: the rules'.
    """

    def __init__(self, network: nn.Module, memories: Sequence[Memory]) -> None:
        super().__init__()
        self.network, self.memories = network, tuple(memories)

    def forward(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """What the network returns."""
        if not torch.is_grad_enabled():
            plain: torch.Tensor | tuple[torch.Tensor, ...] = self.network(images)
            return plain
        found: tuple[torch.Tensor, ...] = _Function.apply(images, self)
        return found if len(found) > 1 else found[0]


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, module: Remembering) -> tuple[torch.Tensor, ...]:
        with torch.enable_grad():
            start = images.detach().requires_grad_()
            found = module.network(start)
        values = found if isinstance(found, tuple) else (found,)
        ctx.module, ctx.graph = module, (start, values)
        ctx.set_materialize_grads(False)
        return tuple(value.detach() for value in values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, None]:
        start, values = ctx.graph
        asked = [(value, given) for value, given in zip(values, gradients, strict=True) if given is not None]
        outputs, at_outputs = zip(*asked, strict=True)
        (passed,) = _walked(outputs, [start], at_outputs, ctx.module.memories)
        del ctx.graph  # frees what the passes kept
        return passed, None
