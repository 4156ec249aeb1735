"""Activations that a module spells out with arithmetic, such as x * sigmoid(x), put back into one operation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx

__all__ = ["gather_composites", "quick_gelu"]

aten = torch.ops.aten


def quick_gelu(value: torch.Tensor, slope: float) -> torch.Tensor:
    """x sigmoid(slope x), the form of GELU that CLIP uses with slope 1.702."""
    return value * torch.sigmoid(slope * value)


def gather_composites(module: fx.GraphModule) -> None:
    """Find products of a value with a gate of the same value, and call the activation that they are.

    Known: x sigmoid(x) (SiLU), x sigmoid(1.702 x) (quick GELU), x tanh(softplus(x)) (Mish), x relu6(x + 3) / 6 and
    x hardsigmoid(x) (Hardswish).
    """
    for node in list(module.graph.nodes):
        if node.op != "call_function" or node.target is not aten.mul.Tensor:
            continue
        for value, gate in (node.args[:2], node.args[1::-1]):
            if isinstance(value, fx.Node) and isinstance(gate, fx.Node) and _replace(module, node, value, gate):
                break
    module.graph.eliminate_dead_code()
    module.recompile()


def _replace(module: fx.GraphModule, product: fx.Node, value: fx.Node, gate: fx.Node) -> bool:
    """Replace `product` if `gate` is a gate of `value` that nothing else reads."""
    if len(gate.users) != 1:
        return False
    found = _activation(value, gate)
    if found is None:
        return False
    target, arguments, name = found
    with module.graph.inserting_before(product):
        whole = module.graph.call_function(target, (value, *arguments))
    whole.meta = dict(product.meta)
    if name:
        whole.meta["activation"] = name
    product.replace_all_uses_with(whole)
    module.graph.erase_node(product)
    return True


Found = tuple[Callable[..., torch.Tensor], tuple[float, ...], str]


def _activation(value: fx.Node, gate: fx.Node) -> Found | None:
    inner = gate.args[0] if gate.args and isinstance(gate.args[0], fx.Node) else None
    if inner is None:
        return None
    if gate.target is aten.sigmoid.default:
        if inner is value:
            return aten.silu.default, (), ""
        if inner.target is aten.mul.Tensor and inner.args[0] is value and isinstance(inner.args[1], float):
            return quick_gelu, (inner.args[1],), "quick_gelu"
    if gate.target is aten.hardsigmoid.default and inner is value:
        return aten.hardswish.default, (), ""
    if gate.target is aten.tanh.default and inner.target is aten.softplus.default and inner.args == (value,):
        return aten.mish.default, (), ""
    if gate.target is aten.div.Tensor and gate.args[1] == 6 and _shifted_relu6(inner, value):
        return aten.hardswish.default, (), ""
    return None


def _shifted_relu6(node: fx.Node, value: fx.Node) -> bool:
    """relu6(value + 3), written with relu6 or hardtanh."""
    bounded = node.target is aten.relu6.default or (
        node.target in (aten.hardtanh.default, aten.clamp.default) and tuple(node.args[1:]) in ((0, 6), (0.0, 6.0))
    )
    if not bounded or not isinstance(node.args[0], fx.Node):
        return False
    shifted = node.args[0]
    return shifted.target is aten.add.Tensor and shifted.args[0] is value and shifted.args[1] in (3, 3.0)
