"""Where the gradient's way from the logits back to the images ends, if it does."""

from __future__ import annotations

import torch
from torch import fx

from linbp.graph.structure.operations import FILLED

__all__ = ["ends_of_gradient"]

aten = torch.ops.aten

FLAT = frozenset(
    {
        "detach",
        "round",
        "floor",
        "ceil",
        "trunc",
        "fix",
        "sign",
        "sgn",
        "heaviside",
        "floor_divide",
        "bernoulli",
        "one_hot",
    }
)
"""Operations with floats for results, whose derivative is zero or not there."""


def ends_of_gradient(network: fx.GraphModule) -> list[fx.Node]:
    """The operations at which every way from the images to the logits is cut; empty where one is open.

    What a detour with a gradient of its own goes around, as in z + (round(z) - z).detach(), does not count.
    """
    carried: set[fx.Node] = set()
    cut: set[fx.Node] = set()
    ends: set[fx.Node] = set()
    for node in network.graph.nodes:
        if node.op == "placeholder":
            carried.add(node)
        elif node.op == "output":
            if any(source in carried for source in node.all_input_nodes):
                return []
            waiting = list(node.all_input_nodes)
            while waiting:
                source = waiting.pop()
                if source in cut and source not in ends:
                    ends.add(source)
                    waiting += source.all_input_nodes
        elif any(source in carried for source in node.all_input_nodes):
            (carried if _passes(node) else cut).add(node)
        elif any(source in cut for source in node.all_input_nodes):
            cut.add(node)
    return [node for node in network.graph.nodes if node in ends and any(s in carried for s in node.all_input_nodes)]


def _passes(node: fx.Node) -> bool:
    """Whether an operation that depends on the images has a derivative."""
    value = node.meta.get("val")
    if isinstance(value, torch.SymInt | int) or node.target in FILLED:
        return False
    if isinstance(value, torch.Tensor) and not (value.is_floating_point() or value.is_complex()):
        return False
    name = node.target._schema.name.split("::")[1] if isinstance(node.target, torch._ops.OpOverload) else ""
    return name not in FLAT
