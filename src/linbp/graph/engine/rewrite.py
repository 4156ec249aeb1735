"""From a captured graph and a plan (what a rule does where) to a network that runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from linbp.errors import RuleError
from linbp.graph.engine.backward import Branch, SiteBackward, Walk, run_branch, run_site, scale_gradient
from linbp.graph.kernels.entry import entry_of
from linbp.graph.kernels.overwrite import OVERWRITING, may_overwrite
from linbp.graph.kernels.stem import stem_of
from linbp.graph.kernels.winograd import winograd_of
from linbp.graph.structure.analysis import Junction, Structure
from linbp.graph.structure.dominators import Dominators
from linbp.graph.structure.feature_maps import with_outputs

__all__ = ["Plan", "rewrite"]

aten = torch.ops.aten
MASKED_BY_OUTPUT = frozenset({aten.relu.default})


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a backward rule does, and where.

    Attributes:
        sites: the gradient's way through a site, by the site's number; other sites stay ordinary.
        pools: the gradient's way through a max-pool, by the pool's number; other pools stay ordinary.
        rescaled: numbers of the (closed) junctions whose branch's gradient gets the norm of the ordinary one.
        factors: what multiplies the gradient of a junction's branch, by the junction's number.
        notes: what the user should know of it.
    """

    sites: Mapping[int, SiteBackward] = field(default_factory=dict)
    pools: Mapping[int, SiteBackward] = field(default_factory=dict)
    rescaled: frozenset[int] = frozenset()
    factors: Mapping[int, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __add__(self, other: Plan) -> Plan:
        """Both at once: factors multiply.

        Raises:
            RuleError: both change the same site or max-pool.
        """
        for what, mine, others in (("site", self.sites, other.sites), ("max-pool", self.pools, other.pools)):
            common = set(mine) & set(others)
            if common:
                raise RuleError(
                    f"Two rules change the same {len(common)} {what}s (the first is {what} {min(common)}).",
                    "Use one of them, or give each its own sites.",
                )
        factors = dict(self.factors)
        for index, factor in other.factors.items():
            factors[index] = factors.get(index, 1.0) * factor
        return Plan(
            sites={**self.sites, **other.sites},
            pools={**self.pools, **other.pools},
            rescaled=self.rescaled | other.rescaled,
            factors=factors,
            notes=self.notes + other.notes,
        )


class _SiteModule(nn.Module):
    """An activation, or a max-pool, with a rule's gradient."""

    def __init__(self, node: fx.Node, backward: SiteBackward, walk: Walk, measured: bool) -> None:
        super().__init__()
        self.target: Any = node.target
        self.rest = tuple(None if isinstance(argument, fx.Node) else argument for argument in node.args[1:])
        self.options = dict(node.kwargs)
        self.rule, self.walk = backward, walk
        if backward.needs == "input" or (measured and node.target not in MASKED_BY_OUTPUT):
            self.kept = "input"
        elif measured or backward.needs == "derivative":
            self.kept = "mask" if node.target in MASKED_BY_OUTPUT else "input"
        else:
            self.kept = "nothing"
        self.overwrites = self.kept != "input" and node.target in OVERWRITING and may_overwrite(node)
        if self.overwrites:
            self.target = OVERWRITING[node.target]

    def forward(self, value: torch.Tensor, *tensors: torch.Tensor) -> torch.Tensor:
        given = iter(tensors)
        rest = [next(given) if tensors and argument is None else argument for argument in self.rest]

        def operation(of: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.target(of, *rest, **self.options)
            return result

        return run_site(value, operation, self.rule, self.walk, self.kept, self.overwrites)


class _BranchModule(nn.Module):
    def __init__(self, branch: Branch) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, fork: torch.Tensor, *others: Any) -> torch.Tensor:
        return run_branch(fork, self.branch, *others)


class _ScaleModule(nn.Module):
    def __init__(self, factor: float, walk: Walk) -> None:
        super().__init__()
        self.factor, self.walk = factor, walk

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return scale_gradient(value, self.factor, self.walk)


def rewrite(
    network: fx.GraphModule, structure: Structure, plan: Plan, read: Mapping[str, str] | None = None
) -> fx.GraphModule:
    """A network with the same values and the plan's gradients; it shares the captured network's tensors.

    Args:
        network: a captured graph.
        structure: its sites and junctions.
        plan: what the rule does.
        read: by module path, names of nodes whose values the network returns too, behind the logits.

    Raises:
        RuleError: a node that is read lies inside a branch whose gradient is rescaled.
    """
    read = read or {}
    for index in sorted(plan.rescaled):
        hidden = set(structure.junctions[index].branch)
        path = next((path for path, node in read.items() if node in hidden), None)
        if path is not None:
            raise RuleError(
                f"The feature map {path!r} lies in a branch of {structure.junctions[index].module_path!r} whose "
                "gradient is rescaled, so it has no gradient of its own.",
                "Read the block's output instead, or use rebalance=site or rebalance=none.",
            )
    return _Rewriter(with_outputs(network, [*read.values()]) if read else network, structure, plan).whole()


class _Rewriter:
    def __init__(self, network: fx.GraphModule, structure: Structure, plan: Plan) -> None:
        self.network, self.plan, self.walk = network, plan, Walk()
        self.dominators = Dominators(network.graph)
        self.nodes = {node.name: node for node in network.graph.nodes}
        self.order = {node: rank for rank, node in enumerate(network.graph.nodes)}
        self.sites = {self.nodes[structure.sites[index].node]: rule for index, rule in plan.sites.items()}
        self.sites |= {self.nodes[structure.pools[index].node]: rule for index, rule in plan.pools.items()}
        self.junctions = structure.junctions
        self.scaled = {
            (self.nodes[junction.branch[-1]], self.nodes[junction.node]): plan.factors[junction.index]
            for junction in structure.junctions
            if junction.index in plan.factors and junction.index not in plan.rescaled and junction.branch
        }

    def whole(self) -> fx.GraphModule:
        """The rewritten network."""
        graph, parts = fx.Graph(), _Parts(self.network)
        self._emit(self.network.graph.nodes, graph, parts, {}, self.plan.rescaled, nested=False)
        return parts.module(graph)

    def _emit(
        self,
        nodes: Iterable[fx.Node],
        graph: fx.Graph,
        parts: _Parts,
        made: dict[fx.Node, fx.Node],
        rescaled: frozenset[int],
        nested: bool,
    ) -> None:
        """Copy nodes into `graph`; the outermost rescaled branches among them become calls."""
        outermost = self._outermost(rescaled)
        inside = {name: junction for junction in outermost for name in junction.branch}
        for node in nodes:
            junction = inside.get(node.name)
            if junction is not None:
                if node.name == junction.branch[-1]:
                    made[node] = self._call_branch(junction, graph, parts, made, rescaled, nested)
            elif node.op == "call_function" and node.target is aten.dropout.default and not node.args[2]:
                made[node] = made[node.args[0]]  # type: ignore[index]
            elif node in self.sites:
                module = _SiteModule(node, self.sites[node], self.walk, measured=nested)
                tensors = [made[argument] for argument in node.args if isinstance(argument, fx.Node)]
                made[node] = graph.call_module(parts.add("site", module), tuple(tensors))
            elif (faster := stem_of(self.network, node) or winograd_of(self.network, node)) is not None:
                made[node] = graph.call_module(parts.add("faster", faster), (made[node.args[0]],))  # type: ignore[index]
            else:
                made[node] = self._copy(node, graph, parts, made)

    def _copy(self, node: fx.Node, graph: fx.Graph, parts: _Parts, made: dict[fx.Node, fx.Node]) -> fx.Node:
        copied = graph.node_copy(node, lambda source: self._operand(source, node, graph, parts, made))
        first = copied.args[0] if copied.args else None
        scaled = (node.args[0], node) in self.scaled if node.args else False
        own = isinstance(first, fx.Node) and first.op != "placeholder" and not scaled
        if own and node.target in OVERWRITING and may_overwrite(node):
            copied.target = OVERWRITING[node.target]
        return copied

    def _operand(
        self, source: fx.Node, at: fx.Node, graph: fx.Graph, parts: _Parts, made: dict[fx.Node, fx.Node]
    ) -> fx.Node:
        factor = self.scaled.get((source, at))
        if factor is None:
            return made[source]
        return graph.call_module(parts.add("scale", _ScaleModule(factor, self.walk)), (made[source],))

    def _outermost(self, rescaled: frozenset[int]) -> list[Junction]:
        chosen: list[Junction] = []
        for junction in sorted((self.junctions[index] for index in rescaled), key=lambda j: -len(j.branch)):
            if not any(junction.node in other.branch for other in chosen):
                chosen.append(junction)
        return chosen

    def _call_branch(
        self,
        junction: Junction,
        outer: fx.Graph,
        parts: _Parts,
        made: dict[fx.Node, fx.Node],
        rescaled: frozenset[int],
        nested: bool,
    ) -> fx.Node:
        nodes = [self.nodes[name] for name in junction.branch]
        inner = frozenset(i for i in rescaled if self.junctions[i].node in junction.branch)
        fork, held = self.nodes[junction.fork], set(nodes)
        sources = sorted(
            {source for node in nodes for source in node.all_input_nodes} - held, key=self.order.__getitem__
        )
        attributes = [source for source in sources if source.op == "get_attr"]
        others = [source for source in sources if source.op != "get_attr" and source is not fork]
        graph, inner_parts = fx.Graph(), _Parts(self.network)
        copies = {fork: graph.placeholder("fork")}
        for other in others:
            copies[other] = graph.placeholder(other.name)
        for attribute in attributes:
            copies[attribute] = graph.node_copy(attribute)
        cut = self._cut(junction, nodes, fork, inner)
        first = [node for node in nodes if fork in node.all_input_nodes]
        entry = entry_of(self.network, first[0], self.walk) if len(first) == 1 and first[0] is not cut else None
        if entry is not None:
            copies[first[0]] = graph.call_module(inner_parts.add("entry", entry), (copies[fork],))
        self._emit((node for node in nodes if node not in copies), graph, inner_parts, copies, inner, nested=True)
        graph.output((copies[nodes[-1]], copies[cut]))
        factor = self.plan.factors.get(junction.index, 1.0)
        branch = Branch(inner_parts.module(graph), factor, self.walk, nested, entry)
        return outer.call_module(
            parts.add("branch", _BranchModule(branch)), tuple(made[source] for source in [fork, *others])
        )

    def _cut(self, junction: Junction, nodes: list[fx.Node], fork: fx.Node, inner: frozenset[int]) -> fx.Node:
        """The node nearest to the fork that all paths to the branch's end pass, with no changed gradient behind it."""
        changed = {node for node in nodes if node in self.sites}
        changed |= {self.nodes[name] for index in inner for name in self.junctions[index].branch}
        changed |= {branch_end for branch_end, at in self.scaled if at in nodes}
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
        """Whether a node is inside an inner branch's call and has no value of its own there."""
        return any(node.name in self.junctions[index].branch[:-1] for index in inner)


class _Parts:
    """The modules and tensors that a graph under construction refers to."""

    def __init__(self, network: fx.GraphModule) -> None:
        self.network = network
        self.modules: dict[str, nn.Module] = {}

    def add(self, kind: str, module: nn.Module) -> str:
        name = f"{kind}_{len(self.modules)}"
        self.modules[name] = module
        return name

    def module(self, graph: fx.Graph) -> fx.GraphModule:
        root: dict[str, Any] = dict(self.modules)
        for node in graph.nodes:
            if node.op == "get_attr":
                root[str(node.target)] = getattr(self.network, str(node.target))
        module = fx.GraphModule(root, graph)
        module.graph.eliminate_dead_code()
        module.recompile()
        return module
