"""What backward rules do on one network, and where."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from linbp.errors import RuleError
from linbp.graph.engine.attention import AttentionBackward
from linbp.graph.engine.branch import BranchBackward
from linbp.graph.engine.memory import Memory
from linbp.graph.engine.operation import SiteBackward
from linbp.graph.engine.tensor import OperandBackward, Scale, TensorBackward
from linbp.graph.structure.structure import Structure

__all__ = ["Plan"]

Backward = TypeVar("Backward")

ONE_RULE = {
    "sites": ("site", "sites"),
    "pools": ("max-pool", "max-pools"),
    "softmaxes": ("softmax", "softmaxes"),
    "branches": ("branch", "branches"),
    "attentions": ("attention", "attentions"),
}
"""Places that only one rule may change, and what messages call one and several of them."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a backward rule does, by the numbers of the places in the network's structure; all else stays ordinary.

    Attributes:
        sites: the gradient's way through an activation.
        pools: through a max-pool.
        softmaxes: through a softmax.
        branches: through a closed residual branch as a whole, by the junction's number.
        starts: from the start of a residual branch, closed or not, into its fork, by the junction's number: what the
            branch hands on, after all that happens inside it.
        edges: from a residual sum into its branch, closed or not, by the junction's number.
        concatenations: from a concatenation to each of its operands.
        attentions: from an attention's output to query, key and value.
        tensors: at any tensor on the way, by the name of its node: the gradient of all that reads it.
        memories: what the rule keeps between its places, and how many backward passes it takes for one gradient.
        notes: what the user should know of it.
    """

    sites: Mapping[int, SiteBackward] = field(default_factory=dict)
    pools: Mapping[int, SiteBackward] = field(default_factory=dict)
    softmaxes: Mapping[int, SiteBackward] = field(default_factory=dict)
    branches: Mapping[int, BranchBackward] = field(default_factory=dict)
    starts: Mapping[int, TensorBackward] = field(default_factory=dict)
    edges: Mapping[int, TensorBackward] = field(default_factory=dict)
    concatenations: Mapping[int, OperandBackward] = field(default_factory=dict)
    attentions: Mapping[int, AttentionBackward] = field(default_factory=dict)
    tensors: Mapping[str, TensorBackward] = field(default_factory=dict)
    memories: tuple[Memory, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: Plan) -> Plan:
        """Both at once. Where both change the gradient of one tensor, `other` is applied after `self`.

        Raises:
            RuleError: both change the same site, max-pool, softmax, branch or attention.
        """
        merged: dict[str, Any] = {}
        for name, (one, several) in ONE_RULE.items():
            mine, others = getattr(self, name), getattr(other, name)
            common = set(mine) & set(others)
            if common:
                raise RuleError(
                    f"Two rules change the same {len(common)} {several} (the first is {one} {min(common)})."
                    if len(common) > 1
                    else f"Two rules change {one} {min(common)}.",
                    "Use one of them, or give each its own sites.",
                )
            merged[name] = {**mine, **others}
        return Plan(
            **merged,
            starts=_chained(self.starts, other.starts, _one_after_the_other),
            edges=_chained(self.edges, other.edges, _one_after_the_other),
            concatenations=_chained(self.concatenations, other.concatenations, _operand_after_operand),
            tensors=_chained(self.tensors, other.tensors, _one_after_the_other),
            memories=self.memories + other.memories,
            notes=self.notes + other.notes,
        )

    @property
    def walks(self) -> int:
        """How many backward passes it takes for one gradient."""
        return max((memory.walks for memory in self.memories), default=1)

    def with_scales_in_branches(self, structure: Structure) -> Plan:
        """The same plan, with constants on the way into a branch folded into rules that offer `scaled`.

        Where a tensor of the branch is changed, they stay: what changes it may depend on how large a gradient is.
        """
        branches, edges = dict(self.branches), dict(self.edges)
        for junction, edge in self.edges.items():
            branch: Any = branches.get(junction)
            if not isinstance(edge, Scale) or not hasattr(branch, "scaled"):
                continue
            if self.tensors.keys().isdisjoint(structure.junctions[junction].branch):
                branches[junction] = branch.scaled(edge.factor)
                del edges[junction]
        return replace(self, branches=branches, edges=edges)

    def by_number(self, structure: Structure) -> Iterator[tuple[Mapping[int, Any], Sequence[Any], str]]:
        """What is planned by number, the structure's places of that kind, and what messages call one."""
        yield self.sites, structure.sites, "site"
        yield self.pools, structure.pools, "max-pool"
        yield self.softmaxes, structure.softmaxes, "softmax"
        yield self.branches, structure.junctions, "junction"
        yield self.starts, structure.junctions, "junction"
        yield self.edges, structure.junctions, "junction"
        yield self.concatenations, structure.concatenations, "concatenation"
        yield self.attentions, structure.attentions, "attention"

    def nodes(self, structure: Structure) -> Iterator[str]:
        """The names of the nodes where the rule acts; for a branch, the node of its sum."""
        for planned, known, _ in self.by_number(structure):
            yield from (known[index].node for index in planned)
        yield from self.tensors


def _chained(
    first: Mapping[Any, Backward], second: Mapping[Any, Backward], both: Callable[[Backward, Backward], Backward]
) -> dict[Any, Backward]:
    joined = {**first, **second}
    for place in set(first) & set(second):
        joined[place] = both(first[place], second[place])
    return joined


def _one_after_the_other(first: TensorBackward, second: TensorBackward) -> TensorBackward:
    if isinstance(first, Scale) and isinstance(second, Scale):
        return Scale(first.factor * second.factor)
    return lambda gradient: second(first(gradient))


def _operand_after_operand(first: OperandBackward, second: OperandBackward) -> OperandBackward:
    return lambda gradient, operand: second(first(gradient, operand), operand)
