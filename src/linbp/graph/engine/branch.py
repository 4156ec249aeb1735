"""A residual branch with another backward pass: the rule gets the branch's gradients, walked as often as it asks."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import fx, nn

from linbp.graph.engine.norms import image_norms
from linbp.graph.engine.walk import Walk

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
        """The L2 norm of the ordinary gradient, shape (N,): cheaper than the gradient itself where W'z = QRz."""
        ...


class BranchBackward(Protocol):
    """How a rule passes the gradient through one closed residual branch.

    A rule whose result is proportional to a constant may offer `scaled(factor)`, which returns the same rule with its
    result multiplied by the factor; a constant on the way into the branch (`Plan.edges`) is then taken along in it.
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
        network: maps (fork, *others) to the branch's value and its cut: a tensor that every path from the fork to the
            value goes through, behind which, towards the sum, no rule changes anything. All walks share the way from
            the value back to the cut.
        backward: the rule's.
        walk: of the whole network.
        nested: whether the branch lies in another such branch and can be walked again.

    Attributes:
        entry: the network's first module where it measures a gradient without computing it, or None.
    """

    def __init__(self, network: fx.GraphModule, backward: BranchBackward, walk: Walk, nested: bool) -> None:
        super().__init__()
        self.network, self.backward, self.walk, self.nested = network, backward, walk, nested
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
        module, branch = ctx.module, _Walks(ctx.module, *ctx.graph)
        (gradient,) = gradients
        passed = branch.rule_gradient(gradient) if module.walk.ordinary else module.backward(gradient, branch)
        if not module.nested:
            del ctx.graph  # frees the branch's activations as the backward pass goes on
        return passed, None, *[None] * ctx.others


class _Walks:
    """A branch's graph, walked for one gradient or several."""

    def __init__(self, module: BranchModule, fork: torch.Tensor, cut: torch.Tensor, value: torch.Tensor) -> None:
        self._module, self._fork, self._cut, self._value = module, fork, cut, value
        self._last: tuple[torch.Tensor, torch.Tensor] | None = None

    def _at_cut(self, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient at the cut, computed once for the same gradient."""
        if self._last is None or self._last[0] is not gradient:
            (shared,) = torch.autograd.grad(self._value, self._cut, gradient, retain_graph=True)
            self._last = gradient, shared
        return self._last[1]

    def rule_gradient(self, gradient: torch.Tensor) -> torch.Tensor:
        shared = self._at_cut(gradient)
        (passed,) = torch.autograd.grad(self._cut, self._fork, shared, retain_graph=True)
        return _own(passed, gradient, shared)

    def ordinary_gradient(self, gradient: torch.Tensor) -> torch.Tensor:
        with self._module.walk.as_ordinary():
            return self.rule_gradient(gradient)

    def ordinary_norm(self, gradient: torch.Tensor) -> torch.Tensor:
        shared, walk = self._at_cut(gradient), self._module.walk
        with walk.as_ordinary(self._module.entry):
            (passed,) = torch.autograd.grad(self._cut, self._fork, shared, retain_graph=True, allow_unused=True)
            norms = walk.norms if passed is None else image_norms(passed)
        assert norms is not None  # the walk ends at the fork or at the entry
        return norms


def _own(passed: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
    """The gradient in memory that none of the others shares: the skip may read the sum's own."""
    memory = passed.untyped_storage().data_ptr()
    shared = any(memory == other.untyped_storage().data_ptr() for other in others) or 0 in passed.stride()
    return passed.clone() if shared else passed
