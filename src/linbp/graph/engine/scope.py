"""A graph under construction, with the modules and tensors that it refers to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import fx, nn

__all__ = ["Scope"]


class Scope:
    """A new graph made of an old one's nodes.

    Args:
        network: the old graph's, whose tensors are shared.

    Attributes:
        graph: the new one.
        made: what became of the old nodes.
        starts: the same, as branches read it whose starts a rule changes, by the junctions' numbers.
    """

    def __init__(self, network: fx.GraphModule) -> None:
        self.network, self.graph = network, fx.Graph()
        self.made: dict[fx.Node, fx.Node] = {}
        self.starts: dict[tuple[fx.Node, tuple[int, ...]], fx.Node] = {}
        self._modules: dict[str, nn.Module] = {}

    def copy(self, node: fx.Node, operand: Callable[[fx.Node], fx.Node]) -> None:
        """The same operation in the new graph.

        Args:
            node: of the old graph.
            operand: what the new node reads in an old one's place.
        """
        self.made[node] = self.graph.node_copy(node, operand)

    def copy_with(self, node: fx.Node, arguments: tuple[Any, ...]) -> None:
        """The same operation with other arguments, of new nodes."""
        made = self.graph.create_node(node.op, node.target, arguments, dict(node.kwargs))
        made.meta = dict(node.meta)
        self.made[node] = made

    def call(self, kind: str, module: nn.Module, inputs: Sequence[fx.Node], node: fx.Node) -> None:
        """A module in an old node's place; it is known as what the old node's operation was (`operation` in its meta).

        Args:
            kind: the beginning of its name.
            module: to call.
            inputs: new nodes.
            node: of the old graph.
        """
        self.made[node] = self.call_made(kind, module, inputs, {**node.meta, "operation": node.target})

    def call_made(self, kind: str, module: nn.Module, inputs: Sequence[fx.Node], meta: dict[str, Any]) -> fx.Node:
        """A module of new nodes."""
        name = f"{kind}_{len(self._modules)}"
        self._modules[name] = module
        made = self.graph.call_module(name, tuple(inputs))
        made.meta = {key: value for key, value in meta.items() if key in ("val", "operation", "nn_module_stack")}
        return made

    def inner(self, nodes: Sequence[fx.Node], inputs: Sequence[fx.Node]) -> tuple[Scope, list[fx.Node]]:
        """A scope for a part of the old graph, which takes the inputs and what else the part reads, in this order.

        Args:
            nodes: of the part.
            inputs: old nodes that it takes first.

        Returns:
            The scope, and the old nodes that it takes besides the inputs.
        """
        own, inside = Scope(self.network), set(nodes)
        order = {node: rank for rank, node in enumerate(self.network.graph.nodes)}
        sources = sorted({source for node in nodes for source in node.all_input_nodes} - inside, key=order.__getitem__)
        others = [source for source in sources if source.op != "get_attr" and source not in inputs]
        for source in (*inputs, *others):
            own.made[source] = own.graph.placeholder(source.name)
            own.made[source].meta = dict(source.meta)
        for source in sources:
            if source.op == "get_attr":
                own.made[source] = own.graph.node_copy(source)
        return own, others

    def module(self) -> fx.GraphModule:
        """The new graph as a module."""
        root: dict[str, Any] = dict(self._modules)
        for node in self.graph.nodes:
            if node.op == "get_attr":
                root[str(node.target)] = getattr(self.network, str(node.target))
        module = fx.GraphModule(root, self.graph)
        module.graph.eliminate_dead_code()
        module.recompile()
        return module
