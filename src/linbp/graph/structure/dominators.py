"""Dominators of a captured graph: the nodes that every path from the images to a node goes through."""

from __future__ import annotations

from torch import fx

from linbp.graph.structure.operations import activation_name, is_data

__all__ = ["Dominators"]


class Dominators:
    """The dominator tree of the nodes that carry data from the images.

    In an acyclic graph one pass in execution order suffices: the immediate dominator of a node is the lowest common
    ancestor, in the tree built so far, of its inputs (Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm).

    Args:
        graph: a captured graph; its only placeholder is the batch of images.
    """

    def __init__(self, graph: fx.Graph) -> None:
        self.order: dict[fx.Node, int] = {node: rank for rank, node in enumerate(graph.nodes)}
        self.parent: dict[fx.Node, fx.Node | None] = {}
        self.depth: dict[fx.Node, int] = {}
        for node in graph.nodes:
            if node.op == "placeholder":
                self.parent[node], self.depth[node] = None, 0
                continue
            if node.op == "output" or not is_data(node):
                continue
            sources = self.data_inputs(node)
            if sources:
                nearest = sources[0]
                for source in sources[1:]:
                    nearest = self.common(nearest, source)
                self.parent[node], self.depth[node] = nearest, self.depth[nearest] + 1

    def activations(self) -> list[fx.Node]:
        """The activations that depend on the images, in execution order."""
        return [node for node in self.depth if activation_name(node) is not None]

    def data_inputs(self, node: fx.Node) -> list[fx.Node]:
        """The inputs of a node that depend on the images."""
        return [source for source in node.all_input_nodes if source in self.depth]

    def common(self, first: fx.Node, second: fx.Node) -> fx.Node:
        """The nearest node that dominates both (a node dominates itself)."""
        while first is not second:
            if self.depth[first] < self.depth[second]:
                first, second = second, first
            above = self.parent[first]
            assert above is not None  # the placeholder dominates everything
            first = above
        return first

    def between(self, fork: fx.Node, end: fx.Node) -> tuple[fx.Node, ...]:
        """All nodes on paths from a dominator to `end`, without the dominator, in execution order."""
        found: set[fx.Node] = set()
        waiting = [end] if end is not fork else []
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                waiting.extend(source for source in self.data_inputs(node) if source is not fork)
        return tuple(sorted(found, key=self.order.__getitem__))
