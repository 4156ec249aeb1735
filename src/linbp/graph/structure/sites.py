"""Sites: the activations of a captured graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import fx

from linbp.graph.structure.dominators import Dominators
from linbp.graph.structure.junctions import Junction, innermost_junctions
from linbp.graph.structure.module_paths import module_path
from linbp.graph.structure.operations import GATES, NORMALISATIONS, VIEWS, activation_name, clipping

__all__ = ["Site", "find_sites"]

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


def find_sites(dominators: Dominators, junctions: Sequence[Junction]) -> tuple[Site, ...]:
    """The activations of a graph, in execution order.

    Args:
        dominators: of the graph.
        junctions: its residual sums.
    """
    innermost = innermost_junctions(junctions)
    return tuple(
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
        for index, node in enumerate(dominators.activations())
    )


def _kind(node: fx.Node, dominators: Dominators, junctions: Sequence[Junction], innermost: int | None) -> SiteKind:
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
