"""Concatenations of a captured graph, such as those of a DenseNet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import fx

from linbp.graph.structure.dominators import Dominators
from linbp.graph.structure.module_paths import module_path
from linbp.graph.structure.operations import CONCATENATION

__all__ = ["Concatenation", "find_concatenations"]


@dataclass(frozen=True, kw_only=True)
class Concatenation:
    """One concatenation of at least two tensors that depend on the image.

    Attributes:
        index: its number in execution order, from 0.
        module_path: the module that concatenates, as the user's module names it.
        operands: names of the nodes that are put side by side, in their order, constants among them.
        axis: along which; 0 is the batch.
        sizes: of each operand along that axis.
        shape: of the result, without the batch.
        dense: numbers of the operands that are computed from another operand, as a DenseNet's new channels are from the
            older ones.
        node: name of its node in the graph.
    """

    index: int
    module_path: str
    operands: tuple[str, ...]
    axis: int
    sizes: tuple[int, ...]
    shape: tuple[int, ...]
    dense: tuple[int, ...]
    node: str


def find_concatenations(dominators: Dominators) -> tuple[Concatenation, ...]:
    """The concatenations of a graph, in execution order; those along the batch are none.

    Args:
        dominators: of the graph.
    """
    found: list[Concatenation] = []
    ancestors = _ancestors(dominators)
    for node in dominators.depth:
        if node.op != "call_function" or node.target is not CONCATENATION:
            continue
        value = node.meta["val"]
        given: Any = node.args
        operands = [operand for operand in given[0] if isinstance(operand, fx.Node)]
        axis = (int(given[1]) if len(given) > 1 else 0) % value.ndim
        if axis == 0 or len(set(operands) & set(dominators.depth)) < 2:
            continue
        found.append(
            Concatenation(
                index=len(found),
                module_path=module_path(node),
                operands=tuple(operand.name for operand in operands),
                axis=axis,
                sizes=tuple(int(operand.meta["val"].shape[axis]) for operand in operands),
                shape=tuple(int(size) for size in value.shape[1:]),
                dense=_dense(operands, dominators, ancestors),
                node=node.name,
            )
        )
    return tuple(found)


def _ancestors(dominators: Dominators) -> dict[fx.Node, int]:
    """What each node is computed from, itself included: a number whose bits are those nodes' places in the graph."""
    found: dict[fx.Node, int] = {}
    for node in dominators.depth:
        found[node] = 1 << dominators.order[node]
        for source in dominators.data_inputs(node):
            found[node] |= found[source]
    return found


def _dense(operands: list[fx.Node], dominators: Dominators, ancestors: dict[fx.Node, int]) -> tuple[int, ...]:
    """The numbers of the operands that are computed from another one."""
    places = {node: 1 << dominators.order[node] for node in operands if node in ancestors}
    every = sum(places.values())
    return tuple(
        number for number, node in enumerate(operands) if node in places and ancestors[node] & every & ~places[node]
    )
