"""What a captured graph holds: sites (activations) and junctions (residual sums)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import fx

from linbp.graph.structure.dominators import Dominators
from linbp.graph.structure.operations import GATES, MAX_POOL, NORMALISATIONS, SUMS, VIEWS, activation_name, clipping

__all__ = ["Junction", "MaxPool", "Output", "Site", "Structure", "analyse", "max_pools", "module_path", "module_paths"]

IMAGE_RANK = 4

SiteKind = Literal["plain", "in a branch", "after a sum", "gate"]


@dataclass(frozen=True, kw_only=True)
class Site:
    """One activation of the network.

    Attributes:
        index: its number in execution order, from 0.
        op: the activation, such as `relu`.
        module_path: the module that calls it, as the user's module names it; one shared module may hold several sites.
        shape: of its output, without the batch.
        kind: `in a branch` of a junction, `after a sum` (the sum's value, normalised at most, is its input), `gate`
            (its result multiplies another tensor), or `plain`.
        junction: number of the innermost junction whose branch holds it, or None.
        node: name of its node in the graph.
        clips: of an activation that is the identity between two values and constant outside, those two values (ReLU:
            0 and infinity, ReLU6: 0 and 6); None for others.
    """

    index: int
    op: str
    module_path: str
    shape: tuple[int, ...]
    kind: SiteKind
    junction: int | None
    node: str
    clips: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class MaxPool:
    """One max-pool over windows of a feature map.

    Attributes:
        index: its number in execution order among the max-pools, from 0; sites are numbered by themselves.
        module_path: the module that calls it, as the user's module names it.
        kernel: height and width of the window.
        stride: of the window, in both directions.
        padding: on both sides, with nothing in it: a padded place is never the largest.
        dilation: distance of the window's places.
        shape: of its output, without the batch.
        node: name of its node in the graph.
    """

    index: int
    module_path: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    shape: tuple[int, ...]
    node: str


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
        closed: whether the branch takes nothing but the fork and parameters and gives nothing to anything but the sum.
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

    @property
    def skip_is_identity(self) -> bool:
        """Whether the fork's value itself is added."""
        return not self.skip


@dataclass(frozen=True, kw_only=True)
class Output:
    """What one module of the network returns, as a feature map of every image.

    Attributes:
        module_path: as the user's module names it; of a module that is called several times, the last call's.
        node: name of its node in the graph.
        original: name of that node before batch norms were folded; the same for a layer that one was folded into, whose
            value then is the batch norm's.
        shape: without the batch.
        on_every_path: whether everything that reaches the logits goes through it.
    """

    module_path: str
    node: str
    original: str
    shape: tuple[int, ...]
    on_every_path: bool


@dataclass(frozen=True, kw_only=True)
class Structure:
    """The sites and junctions of a network, and where its modules begin and end.

    Attributes:
        sites: in execution order.
        junctions: in execution order.
        ranks: place in execution order of each node, by its name.
        entries: place in execution order of each module's first operation, by module path.
        outputs: what modules return, by module path, in execution order.
        pools: the max-pools, in execution order.
    """

    sites: tuple[Site, ...]
    junctions: tuple[Junction, ...]
    ranks: Mapping[str, int]
    entries: Mapping[str, int]
    outputs: Mapping[str, Output] = field(default_factory=dict)
    pools: tuple[MaxPool, ...] = ()


def module_paths(node: fx.Node) -> list[str]:
    """The modules that a node was called in, from the root to the innermost, as the user's module names them."""
    stack = node.meta.get("nn_module_stack") or {}
    return [str(path).partition("@")[0] for path, _ in stack.values()]


def module_path(node: fx.Node) -> str:
    """The innermost module that a node was called in, as the user's module names it; the root is the empty string."""
    paths = module_paths(node)
    return paths[-1] if paths else ""


def analyse(graph: fx.Graph) -> tuple[tuple[Site, ...], tuple[Junction, ...]]:
    """Find the sites and junctions of a functional graph, both in execution order.

    Args:
        graph: as `capture` makes it: one placeholder, functional operations, `val` and `nn_module_stack` in each meta.
    """
    dominators = Dominators(graph)
    active = [node for node in graph.nodes if node in dominators.depth and activation_name(node) is not None]
    number = {node: index for index, node in enumerate(active)}
    junctions: list[Junction] = []
    for node in graph.nodes:
        found = _junction(node, dominators, number, len(junctions))
        if found is not None:
            junctions.append(found)
    innermost: dict[str, int] = {}
    for junction in sorted(junctions, key=lambda junction: len(junction.branch)):
        for name in junction.branch:
            innermost.setdefault(name, junction.index)
    sites = tuple(
        Site(
            index=index,
            op=activation_name(node) or "",
            module_path=module_path(node),
            shape=tuple(int(size) for size in node.meta["val"].shape[1:]),
            kind=_kind(node, dominators, junctions, innermost.get(node.name)),
            junction=innermost.get(node.name),
            node=node.name,
            clips=clipping(node),
        )
        for node, index in number.items()
    )
    gates = {site.index for site in sites if site.kind == "gate"}
    return sites, tuple(
        dataclasses.replace(junction, sites=tuple(index for index in junction.sites if index not in gates))
        for junction in junctions
    )


def max_pools(graph: fx.Graph) -> tuple[MaxPool, ...]:
    """Find the max-pools of a functional graph, in execution order."""
    found: list[MaxPool] = []
    for node in graph.nodes:
        if node.op != "call_function" or node.target is not MAX_POOL or len(node.meta["val"].shape) != IMAGE_RANK:
            continue
        kernel, stride, padding, dilation = (*node.args[1:5], None, None, None)[:4]
        found.append(
            MaxPool(
                index=len(found),
                module_path=module_path(node),
                kernel=_pair(kernel),
                stride=_pair(stride or kernel),
                padding=_pair(padding or 0),
                dilation=_pair(dilation or 1),
                shape=tuple(int(size) for size in node.meta["val"].shape[1:]),
                node=node.name,
            )
        )
    return tuple(found)


def _pair(sizes: Any) -> tuple[int, int]:
    given = [sizes] if isinstance(sizes, int) else list(sizes)
    return int(given[0]), int(given[-1])


def _kind(node: fx.Node, dominators: Dominators, junctions: list[Junction], innermost: int | None) -> SiteKind:
    if activation_name(node) in GATES and _multiplies(node):
        return "gate"
    followed = _followed_sum(node, dominators, {junction.node for junction in junctions})
    if followed is not None and (innermost is None or followed in junctions[innermost].branch):
        return "after a sum"  # a sum in front of the branch is the fork of a pre-activation block instead
    return "plain" if innermost is None else "in a branch"


def _multiplies(node: fx.Node) -> bool:
    """Whether a node's value is a factor of a product of two data tensors, looking through reshapes."""
    waiting = list(node.users)
    while waiting:
        user = waiting.pop()
        name = str(user.target)
        if "aten.mul" in name:
            return len([source for source in user.all_input_nodes if source.op != "get_attr"]) > 1
        if user.target in VIEWS or any(word in name for word in ("interpolate", "upsample", "getitem", "clone")):
            waiting.extend(user.users)
    return False


def _followed_sum(node: fx.Node, dominators: Dominators, sums: set[str]) -> str | None:
    """The junction's sum that is a node's input, with nothing but normalisation between."""
    sources = dominators.data_inputs(node)
    while len(sources) == 1:
        if sources[0].name in sums:
            return sources[0].name
        if sources[0].target not in NORMALISATIONS:
            return None
        sources = dominators.data_inputs(sources[0])
    return None


def _junction(node: fx.Node, dominators: Dominators, number: dict[fx.Node, int], index: int) -> Junction | None:
    if node.op != "call_function" or node.target not in SUMS or node not in dominators.depth:
        return None
    operands = [operand for operand in node.args[:2] if isinstance(operand, fx.Node) and operand in dominators.depth]
    if len(operands) != 2 or operands[0] is operands[1]:
        return None
    fork = dominators.common(operands[0], operands[1])
    sides = [dominators.between(fork, operand) for operand in operands]
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
        closed=_closed(node, branch),
    )


def _closed(junction: fx.Node, branch: tuple[fx.Node, ...]) -> bool:
    """Whether nothing but the sum reads what the branch makes; by dominance its only data input is the fork.

    The sum may read the branch's end only: where the skip's end lies on the branch too (a class token that attends to
    itself and to others), the fork is further up, and the branch is not closed.
    """
    inside = set(branch)
    return all(user in inside or (node is branch[-1] and user is junction) for node in branch for user in node.users)
