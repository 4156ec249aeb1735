"""One node of a finished graph becomes a module that computes the same."""

from __future__ import annotations

from torch import fx, nn

__all__ = ["replace"]


def replace(network: fx.GraphModule, node: fx.Node, kind: str, module: nn.Module) -> None:
    """Call a module of a node's first argument in the node's place.

    Args:
        network: changed in place; it must be recompiled.
        node: of its graph.
        kind: the beginning of the module's name.
        module: that computes what the node does.
    """
    name = f"{kind}_{node.name}"
    network.add_submodule(name, module)
    with network.graph.inserting_before(node):
        call = network.graph.call_module(name, (node.args[0],))
    call.meta = {**node.meta, "operation": node.target}
    node.replace_all_uses_with(call)
    network.graph.erase_node(node)
