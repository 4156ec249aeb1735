"""Residual sums of a captured graph, with their branches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import fx

from linbp.graph.structure.dominators import Dominators
from linbp.graph.structure.module_paths import module_path
from linbp.graph.structure.operations import ARRANGING, QUOTIENTS, SUMS, TIMES

__all__ = ["Junction", "find_junctions", "innermost_junctions"]

aten = torch.ops.aten

KEEPING = {aten.dropout.default, aten.clone.default, aten.contiguous.default, aten.alias.default}
"""Operations of one tensor that keep its values where they are."""


@dataclass(frozen=True, kw_only=True)
class Junction:
    """One residual sum.

    Attributes:
        index: its number in execution order, from 0.
        module_path: the module that adds.
        node: name of the sum's node.
        fork: name of the nearest node that dominates both operands.
        fork_path: the module that made the fork's value.
        branch: names of the nodes from the fork to the sum on the side with sites (the longer side where both or
            neither have sites), in execution order; the fork is not among them.
        skip: names of the nodes on the other side; empty for an identity skip.
        sites: numbers of the sites in the branch, those of junctions inside it included.
        closed: whether the branch takes nothing but the fork, which is one tensor and not the parts of one, and
            parameters, and gives nothing to anything but the sum.
        unscaled: name of the branch's node whose value is only multiplied by constants (LayerScale) on its way to the
            sum, and read by nothing else; None where there are no such constants.
    """

    index: int
    module_path: str
    node: str
    fork: str
    fork_path: str
    branch: tuple[str, ...]
    skip: tuple[str, ...]
    sites: tuple[int, ...]
    closed: bool
    unscaled: str | None

    @property
    def skip_is_identity(self) -> bool:
        """Whether the fork's value itself is added."""
        return not self.skip

    @property
    def computed(self) -> tuple[str, ...]:
        """The branch without the constants that multiply what it computes, if there are any."""
        return self.branch if self.unscaled is None else self.branch[: self.branch.index(self.unscaled) + 1]


def find_junctions(dominators: Dominators) -> tuple[Junction, ...]:
    """The residual sums of a graph, in execution order; gates are among the sites of their branches.

    A sum of the same values in other places, times constants, is none: so are queries and keys turned by their position
    (rotary embedding).

    Args:
        dominators: of the graph.
    """
    number = {node: index for index, node in enumerate(dominators.activations())}
    junctions: list[Junction] = []
    for node in dominators.order:
        found = _junction(node, dominators, number, len(junctions))
        if found is not None:
            junctions.append(found)
    return tuple(junctions)


def innermost_junctions(junctions: Sequence[Junction]) -> dict[str, int]:
    """The number of the innermost junction whose branch holds a node, by the node's name."""
    innermost: dict[str, int] = {}
    for junction in sorted(junctions, key=lambda junction: len(junction.branch)):
        for name in junction.branch:
            innermost.setdefault(name, junction.index)
    return innermost


def _junction(node: fx.Node, dominators: Dominators, number: dict[fx.Node, int], index: int) -> Junction | None:
    if node.op != "call_function" or node.target not in SUMS or node not in dominators.depth:
        return None
    operands = [operand for operand in node.args[:2] if isinstance(operand, fx.Node) and operand in dominators.depth]
    if len(operands) != 2 or operands[0] is operands[1]:
        return None
    fork = dominators.common(operands[0], operands[1])
    sides = [dominators.between(fork, operand) for operand in operands]
    if not any(_computes(one, dominators) for side in sides for one in side):
        return None
    skip, branch = sorted(sides, key=lambda side: (sum(n in number for n in side), len(side)))
    return Junction(
        index=index,
        module_path=module_path(node),
        node=node.name,
        fork=fork.name,
        fork_path=module_path(fork),
        branch=tuple(n.name for n in branch),
        skip=tuple(n.name for n in skip),
        sites=tuple(number[n] for n in branch if n in number),
        closed=isinstance(fork.meta.get("val"), torch.Tensor) and _closed(node, branch),
        unscaled=_unscaled(branch, dominators),
    )


def _unscaled(branch: Sequence[fx.Node], dominators: Dominators) -> str | None:
    """The node whose value constants multiply, going up from the branch's end."""
    found: str | None = None
    times = False
    for node in reversed(branch):
        if sum(user in dominators.depth for user in node.users) > 1:
            break
        if times:
            found = node.name
        if not _keeps(node, dominators):
            break
        times = node.target in TIMES
    return found


def _keeps(node: fx.Node, dominators: Dominators) -> bool:
    """Whether a node passes one tensor as it is, or multiplies it by constants."""
    varying = [one for one in node.args if isinstance(one, fx.Node) and one in dominators.depth]
    if node.target not in KEEPING | TIMES or len(varying) != 1:
        return False
    same = varying[0].meta["val"].shape[1:] == node.meta["val"].shape[1:]
    return same and (node.target not in QUOTIENTS or varying[0] is node.args[0])


def _computes(node: fx.Node, dominators: Dominators) -> bool:
    """Whether a node does more than arrange values, or multiply them with constants."""
    if node.target in TIMES:
        return sum(one in dominators.depth for one in node.all_input_nodes) > 1
    return node.target not in ARRANGING


def _closed(junction: fx.Node, branch: tuple[fx.Node, ...]) -> bool:
    """Whether nothing but the sum reads what the branch makes; by dominance its only data input is the fork.

    The sum may read the branch's end only: where the skip's end lies on the branch too (a class token that attends to
    itself and to others), the fork is further up, and the branch is not closed.
    """
    inside = set(branch)
    return all(user in inside or (node is branch[-1] and user is junction) for node in branch for user in node.users)
