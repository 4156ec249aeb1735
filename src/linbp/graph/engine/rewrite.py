"""From a captured graph and a plan (what rules do where) to a network with the same values and the plan's gradients."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import fx

from linbp.errors import RuleError
from linbp.graph.engine.attention import AttentionModule
from linbp.graph.engine.branch import BranchModule
from linbp.graph.engine.decompose_attention import fused_parts, unfused_parts
from linbp.graph.engine.mixture import MixModule, Mixture
from linbp.graph.engine.mode import BackwardMode
from linbp.graph.engine.operation import OperationModule
from linbp.graph.engine.plan import Plan
from linbp.graph.engine.scope import Scope
from linbp.graph.engine.tensor import OperandBackward, TensorBackward, TensorModule
from linbp.graph.structure.attention import Attention
from linbp.graph.structure.dominators import Dominators
from linbp.graph.structure.feature_maps import with_outputs
from linbp.graph.structure.junctions import Junction
from linbp.graph.structure.structure import Structure

__all__ = ["rewrite"]

aten = torch.ops.aten


def rewrite(
    network: fx.GraphModule,
    structure: Structure,
    plan: Plan,
    read: Mapping[str, str] | None = None,
    mixture: Mixture | None = None,
) -> fx.GraphModule:
    """A network with the same values and the plan's gradients; it shares the captured network's tensors.

    Args:
        network: a captured graph.
        structure: its places.
        plan: what the rules do.
        read: node names by module path; these values are returned after the logits.
        mixture: everything behind its node reads what it makes of the node's value.

    Raises:
        RuleError: a node that is read or mixed lies inside a branch or an attention that a rule treats as a whole, or a
            branch or an attention that is to be treated so is not closed.
    """
    read, plan = read or {}, plan.with_scales_in_branches(structure)
    named = read if mixture is None else {**read, mixture.path: mixture.node}
    _check_places(network, structure, plan)
    for index in plan.branches:
        junction = structure.junctions[index]
        if not junction.closed:
            raise RuleError(
                f"The branch of {junction.module_path!r} is not closed: something else reads what is inside it.",
                "Leave that junction out; `linbp inspect` shows which are closed.",
            )
        _refuse_hidden(named, set(junction.branch), f"a branch of {junction.module_path!r}", "the block's output")
    for index in plan.attentions:
        attention = structure.attentions[index]
        if not attention.closed:
            raise RuleError(
                f"The attention of {attention.module_path!r} is not closed: something else reads its map or logits.",
                "Leave that attention out; `linbp inspect` shows which are closed.",
            )
        hidden = {*attention.head, str(attention.softmax), *attention.tail[:-1]}
        _refuse_hidden(named, hidden, f"the attention of {attention.module_path!r}", "its output")
    wider = with_outputs(network, [*read.values()]) if read else network
    return _Rewriter(wider, structure, plan, mixture).build()


def _check_places(network: fx.GraphModule, structure: Structure, plan: Plan) -> None:
    """Refuse places that the network does not have, and a branch that ends inside an attention treated as a whole.

    Raises:
        RuleError: there is one.
    """
    for planned, known, words in plan.by_number(structure):
        unknown = [index for index in planned if not 0 <= index < len(known)]
        if unknown:
            raise RuleError(f"The network has no {words} {unknown[0]}.", f"It has {len(known)}; see `linbp inspect`.")
    tensors = {node.name for node in network.graph.nodes if isinstance(node.meta.get("val"), torch.Tensor)}
    for name in plan.tensors:
        if name not in tensors:
            raise RuleError(f"The network has no tensor {name!r}.", "Take names of nodes from the structure.")
    ends = {
        structure.junctions[index].branch[-1]: index for index in plan.branches if structure.junctions[index].branch
    }
    for index in plan.attentions:
        attention = structure.attentions[index]
        inside = ends.keys() & (set(_inside(attention)) - {attention.node})
        if inside:
            raise RuleError(
                f"The branch of junction {ends[inside.pop()]} ends inside attention {index}.",
                "Leave one of the two out of the rule.",
            )


def _refuse_hidden(read: Mapping[str, str], hidden: Collection[str], where: str, instead: str) -> None:
    path = next((path for path, node in read.items() if node in hidden), None)
    if path is not None:
        raise RuleError(
            f"The feature map {path!r} lies in {where} whose gradient a rule computes as a whole, so it has no "
            "gradient of its own.",
            f"Read {instead} instead, or, with linbp, use rebalance=site or rebalance=none.",
        )


class _Rewriter:
    def __init__(
        self,
        network: fx.GraphModule,
        structure: Structure,
        plan: Plan,
        mixture: Mixture | None,
    ) -> None:
        self.network, self.plan, self.mode = network, plan, BackwardMode()
        self.dominators = Dominators(network.graph)
        self.nodes = {node.name: node for node in network.graph.nodes}
        self.junctions, self.attentions = structure.junctions, structure.attentions
        self.operations = {
            self.nodes[known[index].node]: backward
            for planned, known in (
                (plan.sites, structure.sites),
                (plan.pools, structure.pools),
                (plan.softmaxes, structure.softmaxes),
            )
            for index, backward in planned.items()
        }
        self.edges = {
            (self.nodes[junction.branch[-1]], self.nodes[junction.node]): plan.edges[junction.index]
            for junction in structure.junctions
            if junction.index in plan.edges and junction.branch
        }
        self.readers = self._readers()
        self.operands = {
            self.nodes[structure.concatenations[index].node]: backward
            for index, backward in plan.concatenations.items()
        }
        self.tensors = {self.nodes[name]: backward for name, backward in plan.tensors.items()}
        self.mixture, self.mixed_at = mixture, None if mixture is None else self.nodes[mixture.node]
        self.attention_at = {name: one for one in self._planned_attentions() for name in _inside(one)}

    def _planned_attentions(self) -> list[Attention]:
        return [self.attentions[index] for index in self.plan.attentions]

    def build(self) -> fx.GraphModule:
        """The rewritten network."""
        scope = Scope(self.network)
        self._emit(self.network.graph.nodes, scope, frozenset(self.plan.branches), nested=False)
        return scope.module()

    def _emit(
        self,
        nodes: Iterable[fx.Node],
        scope: Scope,
        branches: frozenset[int],
        nested: bool,
        end: fx.Node | None = None,
    ) -> None:
        """Copy nodes into a scope; the outermost planned branches among them, and attentions, become calls.

        What a rule does at the tensor `end`, where a call's own nodes end, is left to the scope of the call.
        """
        inside = {name: junction for junction in self._outermost(branches) for name in self._called(junction)}
        for node in nodes:
            junction, attention = inside.get(node.name), self.attention_at.get(node.name)
            if junction is not None:
                if node.name != self._called(junction)[-1]:
                    continue
                self._call_branch(junction, scope, branches, nested)
            elif attention is not None:
                if node.name != attention.node:
                    continue
                self._call_attention(attention, scope)
            elif node.op == "call_function" and node.target is aten.dropout.default and not node.args[2]:
                scope.made[node] = scope.made[node.args[0]]  # type: ignore[index]
            elif node in self.operations:
                module = OperationModule(node, self.operations[node], self.mode, measured=nested)
                read = [self._read(one, node, scope) for one in node.args if isinstance(one, fx.Node)]
                scope.call("place", module, read, node)
            elif node in self.operands:
                self._copy_concatenation(node, scope)
            else:
                scope.copy(node, lambda source, at=node: self._edge(source, at, scope))  # type: ignore[misc]
            if self.mixture is not None and node is self.mixed_at:
                made = scope.made[node]
                meta = {"val": made.meta["val"]}
                scope.made[node] = scope.call_made("mixed", MixModule(self.mixture), [made], meta)
            if node in self.tensors and node is not end:
                scope.made[node] = self._wrapped(scope.made[node], self.tensors[node], scope)

    def _readers(self) -> dict[tuple[fx.Node, fx.Node], tuple[int, ...]]:
        """The junctions whose changed starts lie between a fork and a node of the branch, from outside to inside."""
        readers: dict[tuple[fx.Node, fx.Node], tuple[int, ...]] = {}
        chosen = [self.junctions[index] for index in self.plan.starts if index not in self.plan.branches]
        for junction in sorted(chosen, key=lambda junction: -len(junction.branch)):
            fork = self.nodes[junction.fork]
            for reader in map(self.nodes.__getitem__, junction.branch):
                if fork in reader.all_input_nodes:
                    readers[fork, reader] = (*readers.get((fork, reader), ()), junction.index)
        return readers

    def _read(self, source: fx.Node, at: fx.Node, scope: Scope) -> fx.Node:
        """What a node reads for one of its inputs, where the start of a branch may lie between."""
        return self._started(source, self.readers.get((source, at), ()), scope)

    def _started(self, source: fx.Node, junctions: tuple[int, ...], scope: Scope) -> fx.Node:
        """A fork as the branches of junctions read it; one node for all readers, whose gradients are summed first."""
        made = scope.made[source]
        for end in range(1, len(junctions) + 1):
            key = source, junctions[:end]
            if key not in scope.starts:
                scope.starts[key] = self._wrapped(made, self.plan.starts[junctions[end - 1]], scope)
            made = scope.starts[key]
        return made

    def _edge(self, source: fx.Node, at: fx.Node, scope: Scope) -> fx.Node:
        """What a node reads for one of its inputs, where a branch may begin or end between."""
        made, backward = self._read(source, at, scope), self.edges.get((source, at))
        return made if backward is None else self._wrapped(made, backward, scope)

    def _wrapped(self, made: fx.Node, backward: TensorBackward, scope: Scope) -> fx.Node:
        meta = {"val": made.meta["val"]}  # no "operation": nothing may write over this view
        return scope.call_made("tensor", TensorModule(backward, self.mode), [made], meta)

    def _copy_concatenation(self, node: fx.Node, scope: Scope) -> None:
        backward, operands = self.operands[node], []
        sources: Any = node.args[0]
        for number, source in enumerate(sources):
            made = self._read(source, node, scope)
            depends_on_image = source in self.dominators.depth
            operands.append(
                self._wrapped(made, partial(_of_operand, backward, number), scope) if depends_on_image else made
            )
        scope.copy_with(node, (operands, *node.args[1:]))

    def _outermost(self, branches: Iterable[int]) -> list[Junction]:
        chosen: list[Junction] = []
        for junction in sorted((self.junctions[index] for index in branches), key=lambda j: -len(j.branch)):
            if not any(junction.node in other.branch for other in chosen):
                chosen.append(junction)
        return chosen

    def _called(self, junction: Junction) -> tuple[str, ...]:
        """The nodes of a branch that become a call; constants behind them do not where a rule acts before these.

        So all walks through the branch see what the rule does at its output, be it scaled or not.
        """
        whole = junction.unscaled is None or junction.unscaled not in self.plan.tensors
        return junction.branch if whole else junction.computed

    def _call_branch(self, junction: Junction, scope: Scope, branches: frozenset[int], nested: bool) -> None:
        nodes = [self.nodes[name] for name in self._called(junction)]
        inner = frozenset(index for index in branches if self.junctions[index].node in junction.branch)
        fork = self.nodes[junction.fork]
        own, others = scope.inner(nodes, [fork])
        cut = self._cut(nodes, fork, inner)
        self._emit(nodes, own, inner, nested=True, end=nodes[-1])
        own.graph.output((own.made[nodes[-1]], own.made[cut]))
        again = nested or self.plan.walks > 1
        module = BranchModule(own.module(), self.plan.branches[junction.index], self.mode, again)
        started = (junction.index,) if junction.index in self.plan.starts else ()
        read = [self._started(fork, started, scope), *(scope.made[one] for one in others)]
        scope.call("branch", module, read, nodes[-1])

    def _call_attention(self, attention: Attention, scope: Scope) -> None:
        node = self.nodes[attention.node]
        if attention.fused:
            parts = fused_parts(node)
        else:
            emit = partial(self._emit_attention_part, end=node)
            parts = unfused_parts(attention, self.nodes, scope.network, emit)
        compute, decomposed, others = parts
        module = AttentionModule(
            compute,
            decomposed,
            attention.transposed_key,
            attention.groups,
            self.plan.attentions[attention.index],
            self.mode,
        )
        inside = [self.nodes[name] for name in _inside(attention)]
        read = []
        for source in (*(self.nodes[name] for name in (attention.query, attention.key, attention.value)), *others):
            reader = next(one for one in inside if source in one.all_input_nodes)
            read.append(self._read(source, reader, scope))
        scope.call("attention", module, read, node)

    def _emit_attention_part(self, nodes: Sequence[fx.Node], scope: Scope, end: fx.Node) -> None:
        """Copy the nodes of a part of an attention, with what other rules do inside it."""
        saved, self.attention_at = self.attention_at, {}
        try:
            self._emit(nodes, scope, frozenset(), nested=True, end=end)
        finally:
            self.attention_at = saved

    def _cut(self, nodes: list[fx.Node], fork: fx.Node, inner: frozenset[int]) -> fx.Node:
        """The node nearest to the fork that all paths to the branch's end pass, with no changed gradient behind it."""
        changed = {
            node
            for node in nodes
            if node in self.operations
            or node in self.operands
            or (node in self.tensors and node is not nodes[-1])
            or node.name in self.attention_at
        }
        changed |= {self.nodes[name] for index in inner for name in self.junctions[index].branch}
        changed |= {branch_end for branch_end, at in self.edges if at in nodes}
        changed |= {reader for _, reader in self.readers if reader in nodes}
        cut = nodes[-1]
        while True:
            above = self.dominators.parent[cut]
            if above is None or above is fork:
                return cut
            before = set(self.dominators.between(fork, above))
            if any(node in changed for node in nodes if node not in before) or self._swallowed(above, inner):
                return cut
            cut = above

    def _swallowed(self, node: fx.Node, inner: frozenset[int]) -> bool:
        """Whether a node is inside a call and has no value of its own there."""
        attention = self.attention_at.get(node.name)
        if attention is not None and attention.node != node.name:
            return True
        return any(node.name in self.junctions[index].branch[:-1] for index in inner)


def _of_operand(backward: OperandBackward, number: int, gradient: torch.Tensor) -> torch.Tensor:
    return backward(gradient, number)


def _inside(attention: Attention) -> tuple[str, ...]:
    """The names of the nodes that an attention's call takes the place of."""
    softmax = () if attention.softmax is None else (attention.softmax,)
    return (*attention.head, *softmax, *attention.tail)
