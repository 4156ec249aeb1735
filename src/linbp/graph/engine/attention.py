"""Attention with another backward pass: a rule sees its logits, its map, and the gradients of query, key and value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from linbp.graph.engine.mode import BackwardMode

__all__ = [
    "AttentionBackward",
    "AttentionGradients",
    "AttentionModule",
    "DecomposedAttention",
    "DecomposedFusedAttention",
]

QueryKeyValue = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class AttentionGradients(Protocol):
    """One attention in the backward pass, as a rule sees it: map = softmax(logits), output = map value.

    Rows (R) are images times `groups`: windows of one image, or heads where the network puts them there, lie one behind
    the other, so that `tensor.unflatten(0, (-1, groups))` has one row an image. Tensors are detached.

    Attributes:
        groups: rows for each image.
        query: (R, ..., queries, channels).
        key: (R, ..., keys, channels).
        value: (R, ..., keys, channels).
        logits: (R, ..., queries, keys), the softmax's input.
        map: (R, ..., queries, keys), the softmax's output.
    """

    groups: int
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    logits: torch.Tensor
    map: torch.Tensor

    def ordinary(self, gradient: torch.Tensor) -> QueryKeyValue:
        """The ordinary gradients at query, key and value, given the gradient at the output."""
        ...

    def logits_gradient(self, gradient: torch.Tensor) -> torch.Tensor:
        """The ordinary gradient at the logits (R, ..., queries, keys), given the gradient at the output."""
        ...

    def from_logits(self, gradient: torch.Tensor, at_logits: torch.Tensor) -> QueryKeyValue:
        """Gradients at query and key, given one at the logits, and at value, given the gradient at the output.

        Here other rules act that change tensors inside the attention; in the other two they do not.
        """
        ...


class AttentionBackward(Protocol):
    """How a rule passes the gradient through one attention."""

    def __call__(self, gradient: torch.Tensor, attention: AttentionGradients) -> QueryKeyValue:
        """The gradients at query, key and value, in the shapes of `attention`'s.

        Args:
            gradient: at the attention's output (R, ..., queries, channels).
            attention: gives the map and the ordinary gradients.
        """
        ...


class DecomposedAttention(Protocol):
    """An attention in three steps: logits of query and key, softmax, output of map and value."""

    def logits(self, query: torch.Tensor, key: torch.Tensor, others: tuple[Any, ...]) -> torch.Tensor:
        """The softmax's input."""
        ...

    def softmax(self, logits: torch.Tensor) -> torch.Tensor:
        """The map."""
        ...

    def output(self, map_: torch.Tensor, value: torch.Tensor, others: tuple[Any, ...]) -> torch.Tensor:
        """The result."""
        ...


class AttentionModule(nn.Module):
    """One attention with a rule's gradient.

    Args:
        compute: its value, of query, key, value and other inputs; what the network computes without a rule.
        decomposed: the same in three steps, for the backward pass.
        transposed_key: whether the network's key is (R, ..., channels, keys).
        groups: rows for each image.
        backward: the rule's.
        mode: of the network.
    """

    def __init__(
        self,
        compute: Callable[..., torch.Tensor],
        decomposed: DecomposedAttention,
        transposed_key: bool,
        groups: int,
        backward: AttentionBackward,
        mode: BackwardMode,
    ) -> None:
        super().__init__()
        self.compute, self.decomposed, self.transposed_key = compute, decomposed, transposed_key
        self.groups, self.backward, self.mode = groups, backward, mode

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *others: Any) -> torch.Tensor:
        """The attention's value."""
        result: torch.Tensor = _Function.apply(query, key, value, self, *others)
        return result


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, module: AttentionModule, *others: Any
    ) -> torch.Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.module, ctx.others = module, others
        return module.compute(query, key, value, *others)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        module = ctx.module
        query, key, value = ctx.saved_tensors
        attention = _RecomputedAttention(module, query, key, value, ctx.others)
        passed = attention.ordinary(gradients[0]) if module.mode.ordinary else module.backward(gradients[0], attention)
        at_query, at_key, at_value = passed
        return at_query, attention.swap_key_layout(at_key), at_value, None, *[None] * len(ctx.others)


class _RecomputedAttention:
    """The attention computed again, step by step, with a graph behind each step."""

    def __init__(
        self,
        module: AttentionModule,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        others: tuple[Any, ...],
    ) -> None:
        self.groups, self._transposed, self._mode = module.groups, module.transposed_key, module.mode
        with torch.enable_grad():
            self._inputs = query.detach().requires_grad_(), key.detach().requires_grad_()
            self._value = value.detach().requires_grad_()
            self._logits = module.decomposed.logits(*self._inputs, others)
            self._at_softmax = self._logits.detach().requires_grad_()
            map_ = module.decomposed.softmax(self._at_softmax)
            self._output = module.decomposed.output(map_, self._value, others)
        self.query, self.key = self._inputs[0].detach(), self.swap_key_layout(self._inputs[1].detach())
        self.value, self.logits, self.map = self._value.detach(), self._logits.detach(), map_.detach()

    def swap_key_layout(self, key: torch.Tensor) -> torch.Tensor:
        """From the network's layout of a key to the rules', and back."""
        return key.transpose(-2, -1) if self._transposed else key

    def ordinary(self, gradient: torch.Tensor) -> QueryKeyValue:
        at_logits = self.logits_gradient(gradient)
        with self._mode.as_ordinary():
            return self.from_logits(gradient, at_logits)

    def logits_gradient(self, gradient: torch.Tensor) -> torch.Tensor:
        with self._mode.as_ordinary():
            (at_logits,) = torch.autograd.grad(self._output, self._at_softmax, gradient, retain_graph=True)
        return at_logits

    def from_logits(self, gradient: torch.Tensor, at_logits: torch.Tensor) -> QueryKeyValue:
        query, key = torch.autograd.grad(self._logits, self._inputs, at_logits, retain_graph=True)
        (value,) = torch.autograd.grad(self._output, self._value, gradient, retain_graph=True)
        return query, self.swap_key_layout(key), value


class DecomposedFusedAttention:
    """`scaled_dot_product_attention` in three steps.

        logits = scale query key' + mask,    scale = 1 / sqrt(channels) unless given

    Args:
        mask: whether a mask is the first of the other inputs.
        causal: whether each query sees keys up to its own position only.
        scale: what the products are multiplied by, or None.
        grouped: whether several heads of the query share one of key and value.
    """

    def __init__(self, mask: bool, causal: bool, scale: float | None, grouped: bool) -> None:
        self._mask, self._causal, self._scale, self._grouped = mask, causal, scale, grouped

    def logits(self, query: torch.Tensor, key: torch.Tensor, others: tuple[Any, ...]) -> torch.Tensor:
        """The softmax's input (..., queries, keys)."""
        if self._grouped:
            key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        scale = query.shape[-1] ** -0.5 if self._scale is None else self._scale
        logits = (query @ key.transpose(-2, -1)) * scale
        if self._causal:
            allowed = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
            logits = logits.masked_fill(~allowed, -torch.inf)
        if self._mask:
            mask = others[0]
            logits = logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask
        return logits

    def softmax(self, logits: torch.Tensor) -> torch.Tensor:
        """The map; a query that may see no key has zeros, as in torch's fused operation."""
        blind = (logits == -torch.inf).all(-1, keepdim=True)
        return logits.masked_fill(blind, 0.0).softmax(-1).masked_fill(blind, 0.0)

    def output(self, map_: torch.Tensor, value: torch.Tensor, others: tuple[Any, ...]) -> torch.Tensor:
        """The map times the value."""
        if self._grouped:
            value = value.repeat_interleave(map_.shape[-3] // value.shape[-3], -3)
        return map_ @ value
