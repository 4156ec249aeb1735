"""An activation, a max-pool or a softmax with another backward pass; values stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import torch
from torch import fx, nn

from linbp.graph.engine.mode import BackwardMode

__all__ = ["Needs", "Operation", "OperationModule", "SiteBackward"]

aten = torch.ops.aten

Needs = Literal["nothing", "derivative", "input", "output"]
"""What a rule asks for at a place, and so what is kept until the backward pass."""

MASKED_BY_OUTPUT = frozenset({aten.relu.default})
"""Activations whose output tells their derivative; the next layer keeps it anyway."""


class Operation(Protocol):
    """One activation, max-pool or softmax in the backward pass, as a rule sees it."""

    @property
    def input(self) -> torch.Tensor:
        """Its input, detached; only where the rule's `needs` is `input`.

        Raises:
            AttributeError: the rule did not ask for it.
        """
        ...

    @property
    def output(self) -> torch.Tensor:
        """Its output, detached; only where the rule's `needs` is `input` or `output`.

        Raises:
            AttributeError: the rule did not ask for it.
        """
        ...

    def __call__(self, gradient: torch.Tensor) -> torch.Tensor:
        """The ordinary backward pass: a gradient at the output (N, ...) times the derivative."""
        ...


class SiteBackward(Protocol):
    """How a rule passes the gradient through one activation, max-pool or softmax."""

    @property
    def needs(self) -> Needs:
        """`nothing`: neither derivative nor values, so that nothing is kept. `derivative`: it calls `ordinary`.

        `input` or `output`: it reads `ordinary.input` or `ordinary.output`, and may call `ordinary` too.
        """
        ...

    def __call__(self, gradient: torch.Tensor, ordinary: Operation) -> torch.Tensor:
        """The gradient at the input.

        Args:
            gradient: at the output (N, ...).
            ordinary: the operation: calling it multiplies a gradient by the derivative.
        """
        ...


class OperationModule(nn.Module):
    """One node of a graph with a rule's gradient.

    Args:
        node: of the operation.
        backward: the rule's.
        mode: of the network.
        measured: whether the node lies in a branch whose ordinary gradient may be asked for.
    """

    def __init__(self, node: fx.Node, backward: SiteBackward, mode: BackwardMode, measured: bool) -> None:
        super().__init__()
        self.target: Any = node.target
        self.rest = tuple(None if isinstance(argument, fx.Node) else argument for argument in node.args[1:])
        self.options = dict(node.kwargs)
        self.backward, self.mode = backward, mode
        shows_derivative = node.target in MASKED_BY_OUTPUT
        if backward.needs == "input" or ((measured or backward.needs != "nothing") and not shows_derivative):
            self.kept = "input"
        else:
            self.kept = "output" if measured or backward.needs != "nothing" else "nothing"
        self.overwrites = False

    def overwrite(self, target: Any) -> None:
        """Let the operation write over its input.

        Args:
            target: its form that does.
        """
        self.target, self.overwrites = target, True

    def forward(self, value: torch.Tensor, *tensors: torch.Tensor) -> torch.Tensor:
        """The operation's value."""
        given = iter(tensors)
        rest = [next(given) if tensors and argument is None else argument for argument in self.rest]

        def operation(of: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.target(of, *rest, **self.options)
            return result

        result: torch.Tensor = _Function.apply(value, operation, self)
        return result


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, value: torch.Tensor, operation: Callable[[torch.Tensor], torch.Tensor], module: OperationModule
    ) -> torch.Tensor:
        result = operation(value)
        if module.overwrites:
            ctx.mark_dirty(value)
        ctx.operation, ctx.module = operation, module
        if module.kept != "nothing":
            ctx.save_for_backward(result if module.kept == "output" else value)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        ordinary, module = _Ordinary(ctx), ctx.module
        passed = ordinary(gradients[0]) if module.mode.ordinary else module.backward(gradients[0], ordinary)
        return passed, None, None


class _Ordinary:
    """What the forward pass kept, as rules see it."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self._needs: Needs = ctx.module.backward.needs

    @property
    def input(self) -> torch.Tensor:
        if self._needs != "input":
            raise AttributeError("the input was not kept: the rule's `needs` must be 'input'")
        (saved,) = self._ctx.saved_tensors
        value: torch.Tensor = saved.detach()
        return value

    @property
    def output(self) -> torch.Tensor:
        if self._needs not in ("input", "output"):
            raise AttributeError("the output was not kept: the rule's `needs` must be 'output' or 'input'")
        (saved,) = self._ctx.saved_tensors
        if self._ctx.module.kept == "output":
            value: torch.Tensor = saved.detach()
            return value
        with torch.no_grad():
            result: torch.Tensor = self._ctx.operation(saved.detach())
        return result

    def __call__(self, gradient: torch.Tensor) -> torch.Tensor:
        (saved,) = self._ctx.saved_tensors
        if self._ctx.module.kept == "output":
            masked: torch.Tensor = aten.threshold_backward(gradient, saved, 0)
            return masked
        with torch.enable_grad():
            value = saved.detach().requires_grad_()
            result = self._ctx.operation(value)
        (masked,) = torch.autograd.grad(result, value, gradient)
        return masked
