"""Freeze a captured graph: copy every parameter, and compute once what depends on parameters only."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import fx, nn

__all__ = ["constant", "fold_constants", "freeze", "shallow_copy"]

LARGEST_CONSTANT = 64 * 2**20
"""Elements: larger results are computed in every run and not stored."""


def freeze(module: fx.GraphModule) -> fx.GraphModule:
    """The same graph over detached copies of parameters and buffers, as buffers of a module without children.

    Of tensors that are the same memory, such as tied weights, there is one copy.
    """
    root = nn.Module()
    names: dict[str, str] = {}
    copied: dict[tuple[Any, ...], str] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            target = str(node.target)
            if target not in names:
                value = _attribute(module, target)
                if not isinstance(value, torch.Tensor):
                    names[target] = target
                    root.add_module(target, value)
                    continue
                names[target] = name = copied.setdefault(_memory(value), f"constant_{len(names)}")
                if not hasattr(root, name):
                    root.register_buffer(name, value.detach().clone())
            node.target = names[target]
    return fx.GraphModule(root, module.graph)


def _memory(tensor: torch.Tensor) -> tuple[Any, ...]:
    """What tells a tensor's memory, as it reads it, from that of others."""
    if tensor.layout != torch.strided or not tensor.numel():
        return (id(tensor),)
    return tensor.device, tensor.dtype, tensor.data_ptr(), tuple(tensor.shape), tensor.stride()


def shallow_copy(network: fx.GraphModule) -> fx.GraphModule:
    """A copy of the graph, with the same names of nodes and the same tensors; changes do not reach the original."""
    graph, made = fx.Graph(), dict[fx.Node, fx.Node]()
    graph.output(graph.graph_copy(network.graph, made))
    for node, copied in made.items():
        copied._rename(node.name)
        copied.meta = dict(node.meta)
    return fx.GraphModule(network, graph)


def constant(module: fx.GraphModule, node: Any) -> torch.Tensor | None:
    """The tensor that a `get_attr` node stands for, or None."""
    if isinstance(node, fx.Node) and node.op == "get_attr":
        value = getattr(module, str(node.target), None)
        return value if isinstance(value, torch.Tensor) else None
    return None


def new_constant(module: fx.GraphModule, value: torch.Tensor, before: fx.Node) -> fx.Node:
    """A new buffer with the value of a tensor, and a `get_attr` node for it before the node `before`."""
    name = next(name for count in itertools.count() if not hasattr(module, name := f"folded_{count}"))
    module.register_buffer(name, value.detach().clone())
    with module.graph.inserting_before(before):
        node = module.graph.get_attr(name)
    node.meta["val"] = value
    return node


def fold_constants(module: fx.GraphModule) -> None:
    """Replace nodes that depend on parameters only (standardised weights, relative position tables) by their values."""
    known: dict[fx.Node, Any] = {}
    for node in list(module.graph.nodes):
        if node.op == "get_attr":
            value = constant(module, node)
            if value is not None:
                known[node] = value
            continue
        if node.op != "call_function" or _random(node):
            continue
        if not all(source in known for source in node.all_input_nodes) or _symbolic(node):
            continue
        arguments = fx.map_arg(node.args, known.__getitem__)
        options = fx.map_arg(node.kwargs, known.__getitem__)
        with torch.no_grad():
            value = node.target(*arguments, **options)
        if isinstance(value, torch.Tensor) and value.numel() > LARGEST_CONSTANT:
            continue
        known[node] = value
    for node, value in known.items():
        used_outside = any(user not in known for user in node.users)
        if node.op == "call_function" and used_outside and isinstance(value, torch.Tensor):
            node.replace_all_uses_with(new_constant(module, value, node), delete_user_cb=lambda user: user not in known)
    module.graph.eliminate_dead_code()
    drop_unused(module)


def drop_unused(module: fx.GraphModule) -> None:
    """Delete the buffers that no node reads any more."""
    used = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    for name in [name for name, _ in module.named_buffers() if name not in used]:
        delattr(module, name)


def _symbolic(node: fx.Node) -> bool:
    """Whether an argument of the node is a symbolic size."""
    return any(isinstance(leaf, torch.SymInt) for leaf in torch.utils._pytree.tree_leaves((node.args, node.kwargs)))


def _random(node: fx.Node) -> bool:
    tags = getattr(node.target, "tags", ())
    return torch.Tag.nondeterministic_seeded in tags


def _attribute(module: nn.Module, path: str) -> Any:
    value: Any = module
    for name in path.split("."):
        value = getattr(value, name)
    return value
