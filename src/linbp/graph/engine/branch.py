"""A residual branch with another backward pass: the rule gets the branch's gradients, as many as it asks for."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import fx, nn

from linbp.graph.engine.mode import BackwardMode
from linbp.graph.engine.norms import image_norms

__all__ = ["BranchBackward", "BranchGradients", "BranchModule"]


class BranchGradients(Protocol):
    """A residual branch in the backward pass, as a rule sees it."""

    def rule_gradient(self, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient at the fork through the branch as the rules inside it pass it.

        Args:
            gradient: at the branch's end (N, ...).

        Returns:
            A tensor of the caller's own, which may be written over.
        """
        ...

    def ordinary_gradient(self, gradient: torch.Tensor) -> torch.Tensor:
        """The same for the ordinary gradient, without any rule; also a tensor of the caller's own."""
        ...

    def ordinary_norm(self, gradient: torch.Tensor) -> torch.Tensor:
        """The L2 norm of the ordinary gradient, shape (N,).

        Cheaper than the gradient where the branch starts with a 1 x 1 convolution to fewer channels.
        """
        ...


class BranchBackward(Protocol):
    """How a rule passes the gradient through one closed residual branch.

    A rule may offer `scaled(factor)`, the same rule with its result multiplied by a constant: then a `Scale` on the
    edge from the sum into the branch (`Plan.edges`) is folded into it.
    """

    def __call__(self, gradient: torch.Tensor, branch: BranchGradients) -> torch.Tensor:
        """What the branch adds to the gradient at the fork.

        Args:
            gradient: at the branch's end (N, ...); it must not be written over.
            branch: gives the branch's gradients for this one, or for another.
        """
        ...


class BranchModule(nn.Module):
    """A residual branch as a network of its own.

    Args:
        network: maps (fork, *others) to the branch's value and its cut: the tensor nearest to the fork that all paths
            pass and after which no rule acts. The backward pass from value to cut is computed once and reused.
        backward: the rule's.
        mode: of the whole network.
        nested: whether its gradient may be asked for again: by another such branch that it lies in, or by a rule that
            takes several backward passes.

    Attributes:
        entry: the network's first module where it measures a gradient without computing it, or None.
    """

    def __init__(self, network: fx.GraphModule, backward: BranchBackward, mode: BackwardMode, nested: bool) -> None:
        super().__init__()
        self.network, self.backward, self.mode, self.nested = network, backward, mode, nested
        self.entry: object = None

    def forward(self, fork: torch.Tensor, *others: Any) -> torch.Tensor:
        """The branch's value, with the rule's gradient at the fork."""
        result: torch.Tensor = _Function.apply(fork, self, *others)
        return result


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, fork: torch.Tensor, module: BranchModule, *others: Any) -> torch.Tensor:
        with torch.enable_grad():
            start = fork.detach().requires_grad_()
            value, cut = module.network(start, *others)
        ctx.module, ctx.graph, ctx.others = module, (start, cut, value), len(others)
        result: torch.Tensor = value.detach()
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        module, branch = ctx.module, _BranchGraph(ctx.module, *ctx.graph)
        (gradient,) = gradients
        passed = branch.rule_gradient(gradient) if module.mode.ordinary else module.backward(gradient, branch)
        if not module.nested:
            del ctx.graph  # frees the branch's activations, which the rule may have needed more than once
        return passed, None, *[None] * ctx.others


class _BranchGraph:
    """A branch's autograd graph, differentiated for one gradient or several."""

    def __init__(self, module: BranchModule, fork: torch.Tensor, cut: torch.Tensor, value: torch.Tensor) -> None:
        self._module, self._fork, self._cut, self._value = module, fork, cut, value
        self._last: tuple[torch.Tensor, int, torch.Tensor] | None = None

    def _at_cut(self, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient at the cut, computed once for the same gradient with the same values."""
        if self._last is None or self._last[0] is not gradient or self._last[1] != gradient._version:
            (shared,) = torch.autograd.grad(self._value, self._cut, gradient, retain_graph=True)
            self._last = gradient, gradient._version, shared
        return self._last[2]

    def rule_gradient(self, gradient: torch.Tensor) -> torch.Tensor:
        if not self._value.requires_grad:  # a branch that only takes the fork's shape, such as a mask of zeros
            return torch.zeros_like(self._fork)
        shared = self._at_cut(gradient)
        (passed,) = torch.autograd.grad(self._cut, self._fork, shared, retain_graph=True)
        return _unaliased(passed, gradient, shared)

    def ordinary_gradient(self, gradient: torch.Tensor) -> torch.Tensor:
        with self._module.mode.as_ordinary():
            return self.rule_gradient(gradient)

    def ordinary_norm(self, gradient: torch.Tensor) -> torch.Tensor:
        if not self._value.requires_grad:
            return image_norms(torch.zeros_like(self._fork))
        shared, mode = self._at_cut(gradient), self._module.mode
        with mode.as_ordinary(self._module.entry):
            (passed,) = torch.autograd.grad(self._cut, self._fork, shared, retain_graph=True, allow_unused=True)
            norms = mode.norms if passed is None else image_norms(passed)
        assert norms is not None  # the backward pass ends at the fork or at the entry
        return norms


def _unaliased(passed: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
    """Clone the gradient if it shares memory with another, or is expanded: the skip may still read the sum's."""
    memory = passed.untyped_storage().data_ptr()
    shared = any(memory == other.untyped_storage().data_ptr() for other in others) or 0 in passed.stride()
    return passed.clone() if shared else passed
