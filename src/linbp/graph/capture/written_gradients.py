"""Backward passes that the user has written: `torch.autograd.Function` and modules' backward hooks, kept in the graph.

`torch.export` writes down what a function computes forward, and takes the derivative of that. Inside `recorded`, each
call becomes one operation of the graph instead, and `restored` puts the user's function there, with its backward pass.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any
from unittest import mock

import torch
from torch import fx, nn
from torch.nn.modules._functions import BackwardHookFunction
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import CheckpointFunction

__all__ = ["Function", "plain_checkpoints", "recorded", "restored"]

Function = type[torch.autograd.Function]

_library = torch.library.Library("linbp", "FRAGMENT")  # type: ignore[no-untyped-call]
_library.define(  # type: ignore[no-untyped-call]
    "written_gradient(Tensor[] tensors, int number) -> Tensor[]"
)
_calls: dict[int, _Call] = {}
_HOLE = object()
"""Where a tensor was."""

_computing = contextvars.ContextVar("computing", default=False)
"""Whether a recorded call is being computed, so that the functions are themselves."""


class _Call:
    """A call of a function with a backward pass of its own.

    Args:
        function: its class.
        arguments: of the call, in whose place tensors may be put.
    """

    def __init__(self, function: Function, arguments: Sequence[Any]) -> None:
        self.function = function
        leaves, self.form = pytree.tree_flatten(tuple(arguments))
        self.tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        self.leaves = [_HOLE if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        self.results: Any = None
        """What it returned last, without its tensors."""

    def __call__(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The tensors that it returns with other tensors in their place."""
        arguments = pytree.tree_unflatten(_filled(self.leaves, tensors), self.form)
        found = self.function.apply(*arguments)
        leaves, form = pytree.tree_flatten(found)
        self.results = [_HOLE if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves], form
        return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]

    def returned(self, tensors: Sequence[torch.Tensor]) -> Any:
        """What the function returns where its tensors are these."""
        leaves, form = self.results
        return pytree.tree_unflatten(_filled(leaves, tensors), form)


def _filled(leaves: Sequence[Any], tensors: Sequence[torch.Tensor]) -> list[Any]:
    given = iter(tensors)
    return [next(given) if leaf is _HOLE else leaf for leaf in leaves]


@torch.library.impl(_library, "written_gradient", "CompositeExplicitAutograd")
def _traced(tensors: Sequence[torch.Tensor], number: int) -> list[torch.Tensor]:
    before = _computing.set(True)
    try:
        with torch.no_grad():
            return [result.clone() for result in _calls[number](tensors)]  # an operation may not return what it got
    finally:
        _computing.reset(before)


@torch.library.register_fake("linbp::written_gradient", lib=_library)  # type: ignore[untyped-decorator]
def _shaped(tensors: Sequence[torch.Tensor], number: int) -> list[torch.Tensor]:
    return _traced(tensors, number)


@contextlib.contextmanager
def recorded(functions: Collection[Function]) -> Iterator[None]:
    """Inside, calls of these functions, and modules' backward hooks, become operations of the graph that is traced.

    A function is known by its `forward`: `apply` may have been taken from it, as in `self.round = Round.apply`.
    """
    _calls.clear()
    with contextlib.ExitStack() as stack:
        hooks: tuple[Function, ...] = (_Inputs, _Outputs)
        for function in (*functions, *hooks):
            if function is not BackwardHookFunction:
                stack.enter_context(mock.patch.object(function, "forward", staticmethod(_recording(function))))
        stack.enter_context(mock.patch("torch.nn.modules.module.BackwardHook", _Hooks))
        stack.enter_context(plain_checkpoints())
        yield


def _recording(function: Function) -> Callable[..., Any]:
    """What stands in the place of a function's `forward`."""
    real = function.forward
    takes_context = function.setup_context is torch.autograd.Function.setup_context

    def forward(*arguments: Any, **options: Any) -> Any:
        call = _Call(function, arguments[1:] if takes_context else arguments)
        if _computing.get() or options or not call.tensors:
            return real(*arguments, **options)
        number, tensors = len(_calls), call.tensors
        _calls[number], call.tensors = call, []
        return call.returned(torch.ops.linbp.written_gradient(tensors, number))

    return forward


def restored(network: fx.GraphModule) -> None:
    """Put the user's functions into the operations that stand for them (in place)."""
    for node in network.graph.nodes:
        if node.target is torch.ops.linbp.written_gradient.default:
            tensors, number = node.args
            node.args, node.target = (tensors,), _named(_calls[number], number)
    network.recompile()


def _named(call: _Call, number: int) -> Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]:
    def written(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return call(tensors)

    written.__name__ = written.__qualname__ = f"{call.function.__name__.strip('_')}_{number}"
    return written


@contextlib.contextmanager
def plain_checkpoints() -> Iterator[None]:
    """Inside, checkpoints compute what is in them, and keep what they like: values and gradients are the same."""

    def apply(run: Callable[..., Any], preserve: bool, *arguments: Any) -> Any:
        return run(*arguments)

    with mock.patch.object(CheckpointFunction, "apply", staticmethod(apply)):
        yield


class _Hooks:
    """The backward hooks of a module, in the place of torch's class of that use.

    Args:
        module: whose hooks they are.
        hooks: called with the gradients at its inputs and outputs; may return others for its inputs.
        before: called with the gradients at its outputs; may return others.
    """

    def __init__(self, module: nn.Module, hooks: Sequence[Any], before: Sequence[Any]) -> None:
        self.module, self.hooks, self.before = module, list(hooks), list(before)
        self.at_outputs: tuple[Any, ...] = ()

    def setup_input_hook(self, arguments: Any) -> Any:
        """The inputs, at whose gradients the hooks are called."""
        return _through(_Inputs, self, arguments)

    def setup_output_hook(self, results: Any) -> Any:
        """The outputs, whose gradients the hooks get."""
        return _through(_Outputs, self, results)


def _through(function: Function, hooks: _Hooks, values: Any) -> Any:
    leaves, form = pytree.tree_flatten(values)
    floats = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]
    passed = iter(function.apply(hooks, *floats)) if floats else iter(())
    kept = [next(passed) if any(leaf is one for one in floats) else leaf for leaf in leaves]
    return pytree.tree_unflatten(kept, form)


class _Passing(torch.autograd.Function):
    """The tensors as they are; a subclass says what becomes of their gradients."""

    @staticmethod
    def forward(ctx: Any, hooks: _Hooks, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ctx.hooks = hooks
        return tuple(tensor.view_as(tensor) for tensor in tensors)


class _Inputs(_Passing):
    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        hooks: _Hooks = ctx.hooks
        for hook in hooks.hooks:
            gradients = _replaced(gradients, hook(hooks.module, gradients, hooks.at_outputs))
        return None, *gradients


class _Outputs(_Passing):
    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        hooks: _Hooks = ctx.hooks
        for hook in hooks.before:
            gradients = _replaced(gradients, hook(hooks.module, gradients))
        hooks.at_outputs = gradients
        return None, *gradients


def _replaced(gradients: Any, others: Any) -> Any:
    """What a hook returned, or what it got where it returned nothing."""
    if others is None:
        return gradients
    return others if isinstance(others, tuple) else (others,)
