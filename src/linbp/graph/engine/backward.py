"""The autograd functions that give a forward pass another backward pass.

Everything here leaves values as they are. What differs is the gradient: at a site, on the branch of a junction, or on
the edge into a sum.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol

import torch
from torch import fx

__all__ = [
    "Branch",
    "Needs",
    "Operation",
    "SiteBackward",
    "Walk",
    "image_norms",
    "ratio",
    "run_branch",
    "run_site",
    "scale_gradient",
]

Needs = Literal["nothing", "derivative", "input"]
"""What a rule asks for at a site, and so what must be kept until the backward pass."""

aten = torch.ops.aten

SMALLEST_NORM = 1e-12
"""Below it, squares of float32 (and above a hundred times more, of half precision) begin to vanish."""


class Walk(threading.local):
    """Which of the two walks through a branch is under way: the rule's, or the ordinary one that it is measured by.

    Attributes:
        ordinary: whether every activation takes its true derivative.
        measured_at: the first module of the branch whose ordinary gradient is measured there and goes no further.
        norms: what was measured, an L2 norm an image.
    """

    def __init__(self) -> None:
        self.ordinary = False
        self.measured_at: object = None
        self.norms: torch.Tensor | None = None

    def __reduce__(self) -> tuple[type[Walk], tuple[()]]:
        """A copy of a network walks on its own, and begins with the rule's walk."""
        return Walk, ()

    @contextlib.contextmanager
    def as_ordinary(self, measured_at: object = None) -> Iterator[None]:
        """Backward passes inside take every activation's true derivative, and end at `measured_at` with their norms."""
        before = self.ordinary, self.measured_at, self.norms
        self.ordinary, self.measured_at, self.norms = True, measured_at, None
        try:
            yield
        finally:
            self.ordinary, self.measured_at, self.norms = before


class Operation(Protocol):
    """The ordinary backward pass of one site: a gradient times the true derivative."""

    @property
    def input(self) -> torch.Tensor:
        """What the activation (or the max-pool) was given, detached; only where the rule's `needs` is `input`.

        Raises:
            AttributeError: the rule did not ask for it.
        """
        ...

    def __call__(self, gradient: torch.Tensor) -> torch.Tensor:
        """A gradient at the output (N, ...), multiplied by the true derivative."""
        ...


class SiteBackward(Protocol):
    """How a rule passes the gradient through one site, or one max-pool."""

    @property
    def needs(self) -> Needs:
        """`nothing` where the rule asks for neither the derivative nor the input, so that nothing need be kept.

        `derivative` where it calls `ordinary`, `input` where it reads `ordinary.input` (and may call `ordinary` too).
        """
        ...

    def __call__(self, gradient: torch.Tensor, ordinary: Operation) -> torch.Tensor:
        """The gradient at the activation's input.

        Args:
            gradient: at the activation's output (N, ...).
            ordinary: multiplies a gradient by the activation's true derivative.
        """
        ...


def ratio(numerator: torch.Tensor, denominator: torch.Tensor) -> torch.Tensor:
    """|numerator| / |denominator|, one L2 norm an image, shaped to multiply either; 0 where the denominator is 0."""
    return _ratio_to(image_norms(numerator), denominator)


def _ratio_to(above: torch.Tensor, denominator: torch.Tensor) -> torch.Tensor:
    below = image_norms(denominator)
    value = torch.where(below > 0, above / torch.where(below > 0, below, 1.0), 0.0)
    return value.to(denominator.dtype).view(-1, *[1] * (denominator.ndim - 1))


def image_norms(tensor: torch.Tensor) -> torch.Tensor:
    """The L2 norm of each image's values, shape (N,).

    Where the square of a tiny or huge norm leaves float32, and for that image only, the sum is taken in float64 (at a
    quarter of the speed).
    """
    dims = tuple(range(1, tensor.ndim))
    norms: torch.Tensor = torch.linalg.vector_norm(tensor, dim=dims)
    doubtful = (norms < SMALLEST_NORM) | ~torch.isfinite(norms)
    if tensor.dtype == torch.float64 or tensor.device.type == "mps" or not bool(doubtful.any()):
        return norms
    exact = norms.double()
    exact[doubtful] = torch.linalg.vector_norm(tensor[doubtful].double(), dim=dims)
    return exact


class _Site(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        value: torch.Tensor,
        operation: Callable[[torch.Tensor], torch.Tensor],
        backward: SiteBackward,
        walk: Walk,
        kept: str,
        overwrites: bool,
    ) -> torch.Tensor:
        result = operation(value)
        if overwrites:
            ctx.mark_dirty(value)
        ctx.operation, ctx.rule, ctx.walk, ctx.kept = operation, backward, walk, kept
        if kept == "mask":
            ctx.save_for_backward(result)  # the next layer keeps this tensor anyway
        elif kept == "input":
            ctx.save_for_backward(value)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = gradients
        ordinary = _Ordinary(ctx)
        passed = ordinary(gradient) if ctx.walk.ordinary else ctx.rule(gradient, ordinary)
        return passed, None, None, None, None, None


class _Ordinary:
    """What `_Site` kept, as rules see it."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx

    @property
    def input(self) -> torch.Tensor:
        if self._ctx.rule.needs != "input":
            raise AttributeError("the site's input was not kept: the rule's `needs` must be 'input'")
        (saved,) = self._ctx.saved_tensors
        value: torch.Tensor = saved.detach()
        return value

    def __call__(self, gradient: torch.Tensor) -> torch.Tensor:
        (saved,) = self._ctx.saved_tensors
        if self._ctx.kept == "mask":
            masked: torch.Tensor = aten.threshold_backward(gradient, saved, 0)
            return masked
        with torch.enable_grad():
            value = saved.detach().requires_grad_()
            result = self._ctx.operation(value)
        (masked,) = torch.autograd.grad(result, value, gradient)
        return masked


def run_site(
    value: torch.Tensor,
    operation: Callable[[torch.Tensor], torch.Tensor],
    backward: SiteBackward,
    walk: Walk,
    kept: str,
    overwrites: bool,
) -> torch.Tensor:
    """An activation, or a max-pool, with a rule's gradient.

    Args:
        value: its input.
        operation: the activation.
        backward: the rule.
        walk: of the network.
        kept: `nothing`, the `input`, or the `mask`, which is the output of an activation that shows its derivative.
        overwrites: whether the operation writes over its input.
    """
    result: torch.Tensor = _Site.apply(value, operation, backward, walk, kept, overwrites)
    return result


class Branch:
    """A residual branch as a network of its own, with what the rule does to its gradient.

    Args:
        network: maps (fork, *others) to the branch's value and its cut: a tensor that every path from the fork to the
            value goes through, behind which, towards the sum, the rule changes nothing. Both walks share the way from
            the value back to the cut.
        factor: multiplies the branch's gradient.
        walk: of the whole network.
        nested: whether the branch lies inside another such branch and can be walked again.
        entry: the network's first module where that measures a gradient without computing it, or None.
    """

    def __init__(self, network: fx.GraphModule, factor: float, walk: Walk, nested: bool, entry: object = None) -> None:
        self.network, self.factor, self.walk, self.nested, self.entry = network, factor, walk, nested, entry

    def gradient(
        self, fork: torch.Tensor, cut: torch.Tensor, value: torch.Tensor, gradient: torch.Tensor
    ) -> torch.Tensor:
        """factor |v| / |u| u, with u from the rule's walk and v from the ordinary walk of the same gradient."""
        (shared,) = torch.autograd.grad(value, cut, gradient, retain_graph=True)
        if self.walk.ordinary:
            return _gradient(cut, fork, shared, keep=True)
        linear = _gradient(cut, fork, shared, keep=True)
        scale = _ratio_to(self._ordinary_norms(fork, cut, shared), linear).mul_(self.factor)
        return linear.mul_(scale) if _owned(linear, gradient) else linear * scale

    def _ordinary_norms(self, fork: torch.Tensor, cut: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
        """|v|, one norm an image."""
        with self.walk.as_ordinary(self.entry):
            (ordinary,) = torch.autograd.grad(cut, fork, shared, retain_graph=self.nested, allow_unused=True)
            norms = self.walk.norms if ordinary is None else image_norms(ordinary)
        assert norms is not None  # the walk ends at the fork or at the entry
        return norms


def _owned(passed: torch.Tensor, incoming: torch.Tensor) -> bool:
    """Whether a branch's gradient may be written over: not where it is the sum's own, which the skip reads too."""
    return passed.untyped_storage().data_ptr() != incoming.untyped_storage().data_ptr() and 0 not in passed.stride()


def _gradient(value: torch.Tensor, at: torch.Tensor, gradient: torch.Tensor, keep: bool) -> torch.Tensor:
    (passed,) = torch.autograd.grad(value, at, gradient, retain_graph=keep)
    return passed


class _Branch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, fork: torch.Tensor, branch: Branch, *others: Any) -> torch.Tensor:
        with torch.enable_grad():
            start = fork.detach().requires_grad_()
            value, cut = branch.network(start, *others)
        ctx.branch, ctx.graph, ctx.others = branch, (start, cut, value), len(others)
        result: torch.Tensor = value.detach()
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        passed = ctx.branch.gradient(*ctx.graph, gradients[0])
        if not ctx.branch.nested:
            del ctx.graph  # frees the branch's activations as the backward pass goes on
        return passed, None, *[None] * ctx.others


def run_branch(fork: torch.Tensor, branch: Branch, *others: Any) -> torch.Tensor:
    """The branch's value, with the rule's gradient at the fork."""
    result: torch.Tensor = _Branch.apply(fork, branch, *others)
    return result


class _Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, factor: float, walk: Walk) -> torch.Tensor:
        ctx.factor, ctx.walk = factor, walk
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = gradients
        return gradient if ctx.walk.ordinary else gradient * ctx.factor, None, None


def scale_gradient(value: torch.Tensor, factor: float, walk: Walk) -> torch.Tensor:
    """The value itself; its gradient is multiplied by `factor`."""
    result: torch.Tensor = _Scale.apply(value, factor, walk)
    return result
