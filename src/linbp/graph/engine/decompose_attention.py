"""The parts of one attention in a graph: its value as the network computes it, and the same in three steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import fx

from linbp.graph.engine.attention import DecomposedFusedAttention
from linbp.graph.engine.scope import Scope
from linbp.graph.structure.attention import Attention

__all__ = ["fused_parts", "unfused_parts"]

Emit = Callable[[Sequence[fx.Node], Scope], None]
Parts = tuple[Callable[..., torch.Tensor], Any, list[fx.Node]]
"""The value of query, key, value and others; the three steps; and the old nodes that are the others."""


def fused_parts(node: fx.Node) -> Parts:
    """The parts of a node of `scaled_dot_product_attention`."""
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
    given: dict[str, Any] = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
    mask, operation = given.get("attn_mask"), cast("Callable[..., torch.Tensor]", node.target)
    options = {name: given[name] for name in ("is_causal", "scale", "enable_gqa") if given.get(name) is not None}

    def compute(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *others: Any) -> torch.Tensor:
        return operation(query, key, value, *others, **options)

    decomposed = DecomposedFusedAttention(
        mask is not None,
        bool(options.get("is_causal", False)),
        options.get("scale"),
        bool(options.get("enable_gqa", False)),
    )
    return compute, decomposed, [mask] if isinstance(mask, fx.Node) else []


class _Unfused:
    """Three graphs."""

    def __init__(self, head: fx.GraphModule, softmax: fx.GraphModule, tail: fx.GraphModule, split: int) -> None:
        self._head, self._softmax, self._tail, self._split = head, softmax, tail, split

    def logits(self, query: torch.Tensor, key: torch.Tensor, others: tuple[Any, ...]) -> torch.Tensor:
        """The softmax's input."""
        result: torch.Tensor = self._head(query, key, *others[: self._split])
        return result

    def softmax(self, logits: torch.Tensor) -> torch.Tensor:
        """The map."""
        result: torch.Tensor = self._softmax(logits)
        return result

    def output(self, map_: torch.Tensor, value: torch.Tensor, others: tuple[Any, ...]) -> torch.Tensor:
        """The result."""
        result: torch.Tensor = self._tail(map_, value, *others[self._split :])
        return result

    def whole(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *others: Any) -> torch.Tensor:
        """All three steps."""
        return self.output(self.softmax(self.logits(query, key, others)), value, others)


def unfused_parts(attention: Attention, nodes: Mapping[str, fx.Node], network: fx.GraphModule, emit: Emit) -> Parts:
    """The parts of an attention that the graph spells out.

    Args:
        attention: its place.
        nodes: of the old graph, by name.
        network: the old graph's.
        emit: copies nodes into a scope.
    """
    softmax = nodes[str(attention.softmax)]

    def part(names: Sequence[str], inputs: Sequence[fx.Node]) -> tuple[fx.GraphModule, list[fx.Node]]:
        members = [nodes[name] for name in names]
        own, others = Scope(network).inner(members, inputs)
        emit(members, own)
        own.graph.output(own.made[members[-1]])
        return own.module(), others

    head, first = part(attention.head, [nodes[attention.query], nodes[attention.key]])
    middle, _ = part([softmax.name], [nodes[str(attention.logits)]])
    tail, second = part(attention.tail, [softmax, nodes[attention.value]])
    decomposed = _Unfused(head, middle, tail, len(first))
    return decomposed.whole, decomposed, [*first, *second]
