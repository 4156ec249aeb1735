"""Parts of a forward under `no_grad`, which an exported program has as graphs of their own, written into the graph."""

from __future__ import annotations

import itertools
import operator
from typing import Any

import torch
from torch import fx

__all__ = ["inline_grad_modes"]

MODE = torch.ops.higher_order.wrap_with_set_grad_enabled


def inline_grad_modes(module: fx.GraphModule) -> None:
    """Replace each such part by its operations, with a `detach` behind those that have no gradient (in place)."""
    names = (f"moved_{number}" for number in itertools.count())
    while (call := next((node for node in module.graph.nodes if node.target is MODE), None)) is not None:
        _inline(module, call, names)
    module.graph.eliminate_dead_code()
    module.recompile()


def _inline(module: fx.GraphModule, call: fx.Node, names: Any) -> None:
    enabled, body, *operands = call.args
    part = getattr(module, str(body.target))  # type: ignore[union-attr]
    given = iter(operands)
    made: dict[fx.Node, Any] = {}
    results: Any = ()
    for node in part.graph.nodes:
        if node.op == "placeholder":
            made[node] = next(given)
        elif node.op == "output":
            results = fx.map_arg(node.args[0], made.__getitem__)
        else:
            with module.graph.inserting_before(call):
                copied = module.graph.node_copy(node, made.__getitem__)
                if node.op == "get_attr":
                    name = next(names)
                    copied.target = name
                    setattr(module, name, getattr(part, str(node.target)))
                made[node] = copied if enabled or _has_own_mode(node) else _detached(module, copied)
    for user in list(call.users):
        if user.target is operator.getitem:
            user.replace_all_uses_with(results[user.args[1]])
            module.graph.erase_node(user)
    module.graph.erase_node(call)


def _has_own_mode(node: fx.Node) -> bool:
    """Whether it is, or comes from, a part inside with a mode of its own."""
    if node.target is operator.getitem:
        node = node.args[0]  # type: ignore[assignment]
    return node.target is MODE


def _detached(module: fx.GraphModule, node: fx.Node) -> fx.Node:
    value = node.meta.get("val")
    if node.op == "get_attr" or not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return node
    detached = module.graph.call_function(torch.ops.aten.detach.default, (node,))
    detached.meta = dict(node.meta)
    return detached
