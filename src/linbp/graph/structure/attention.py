"""Softmaxes and attention of a captured graph, fused or not."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from linbp.graph.structure.dominators import Dominators
from linbp.graph.structure.module_paths import module_path
from linbp.graph.structure.operations import FILLED, FUSED_ATTENTION, PRODUCTS, SOFTMAXES, TIMES, VIEWS

__all__ = ["Attention", "Softmax", "find_attentions", "find_softmaxes"]

LONGEST = 16
"""Operations between the product of query and key and the softmax (scale, bias, mask), or behind it."""

MOVING = VIEWS | TIMES | {operator.getitem}
"""Operations that move, split or scale values; of the products those with one tensor that depends on the image."""
TOKEN_AXES = 3


@dataclass(frozen=True, kw_only=True)
class Softmax:
    """One softmax.

    Attributes:
        index: its number in execution order, from 0.
        module_path: the module that calls it, as the user's module names it.
        axis: along which the values add up to 1; 0 is the batch.
        shape: of the result, without the batch.
        node: name of its node in the graph.
    """

    index: int
    module_path: str
    axis: int
    shape: tuple[int, ...]
    node: str


@dataclass(frozen=True, kw_only=True)
class Attention:
    """One attention: a softmax over keys of the products of query and key, times the value.

    Attributes:
        index: its number in execution order, from 0.
        module_path: the module that computes it, as the user's module names it.
        fused: whether one operation computes all of it, so that logits and map have no nodes.
        query, key, value: names of the nodes that it takes.
        transposed_key: whether the key's node is (..., channels, keys).
        logits: name of the softmax's input, or None where fused.
        softmax: name of the softmax's node, or None where fused.
        head: names of the nodes that make the logits of query and key; empty where fused.
        tail: names of the nodes that make the output of map and value, the last one its node.
        node: name of the node of its output.
        shape: of the logits, without the first axis: such as (heads, queries, keys).
        groups: rows of its first axis for each image: windows, or heads where the network puts them there. Those of one
            image lie one behind the other, as networks have them; from shapes alone this cannot be told.
        projections: names of the tensors that query, key and value are made of by moving, splitting and scaling values
            only: one for all three, or one for each; (R, tokens, channels), in rare networks with heads between.
        junction: number of the innermost junction whose branch holds it, or None; the end of that branch is the
            attention branch's output.
        closed: whether nothing else reads what is inside it. Rules act on closed ones only.
    """

    index: int
    module_path: str
    fused: bool
    query: str
    key: str
    value: str
    transposed_key: bool
    logits: str | None
    softmax: str | None
    head: tuple[str, ...]
    tail: tuple[str, ...]
    node: str
    shape: tuple[int, ...]
    groups: int
    projections: tuple[str, ...]
    junction: int | None
    closed: bool


def find_softmaxes(dominators: Dominators) -> tuple[Softmax, ...]:
    """The softmaxes of a graph that depend on the image, in execution order; those inside fused attention are none."""
    nodes = [node for node in dominators.depth if node.target in SOFTMAXES]
    return tuple(
        Softmax(
            index=index,
            module_path=module_path(node),
            axis=_axis(node),
            shape=_sizes(node)[1:],
            node=node.name,
        )
        for index, node in enumerate(nodes)
    )


def find_attentions(dominators: Dominators, innermost: Mapping[str, int]) -> tuple[Attention, ...]:
    """The attentions of a graph, in execution order.

    Args:
        dominators: of the graph.
        innermost: the junction that each node is inside of.
    """
    found: list[Attention] = []
    by_name = {node.name: node for node in dominators.depth}
    varying = _varying(dominators)
    for node in dominators.depth:
        facts = _fused(node, dominators) if node.target in FUSED_ATTENTION else _unfused(node, dominators, varying)
        if facts is not None:
            place: dict[str, Any] = {"index": len(found), "junction": innermost.get(node.name)}
            found.append(Attention(**facts, **place, projections=_projections(facts, by_name, dominators)))
    return tuple(found)


def _projections(facts: Mapping[str, Any], by_name: Mapping[str, fx.Node], dominators: Dominators) -> tuple[str, ...]:
    """Where query, key and value come from: going up from each, the farthest tensor of the right axes.

    Where one layer makes all three and two are changed on the way (rotated, normalised), it stands for them.
    """
    tokens = {"query": facts["shape"][-2], "key": facts["shape"][-1], "value": facts["shape"][-1]}
    places: list[fx.Node] = []
    for role, count in tokens.items():
        node = by_name[facts[role]]
        chain = [node]
        while node.target in MOVING and len(above := dominators.data_inputs(node)) == 1:
            (node,) = above
            chain.append(node)
        suited = [one for one in chain if _is_of_tokens(one, count, facts["groups"], dominators)]
        flat = [one for one in suited if len(_sizes(one)) == TOKEN_AXES]
        places += (flat or suited[:1])[-1:]
    first = [one for one in places if not any(dominators.common(one, other) is other is not one for other in places)]
    return tuple(dict.fromkeys(one.name for one in first))


def _is_of_tokens(node: fx.Node, tokens: int, groups: int, dominators: Dominators) -> bool:
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor) or value.ndim < TOKEN_AXES:
        return False
    return int(value.shape[-2]) == tokens and _groups(node, dominators) == groups


def _fused(node: fx.Node, dominators: Dominators) -> dict[str, Any] | None:
    query, key, value = inputs = _operands(node)[:3]
    groups = _groups(query, dominators)
    if groups is None or not all(one in dominators.depth for one in inputs):
        return None
    sizes, keys = _sizes(query), _sizes(key)[-2]
    return {
        "module_path": module_path(node),
        "fused": True,
        "query": query.name,
        "key": key.name,
        "value": value.name,
        "transposed_key": False,
        "logits": None,
        "softmax": None,
        "head": (),
        "tail": (node.name,),
        "node": node.name,
        "shape": (*sizes[1:-1], keys),
        "groups": groups,
        "closed": len(dominators.data_inputs(node)) == len({query, key, value}),
    }


def _unfused(node: fx.Node, dominators: Dominators, varying: set[fx.Node]) -> dict[str, Any] | None:
    if node.target not in SOFTMAXES or _axis(node) != len(_sizes(node)) - 1:
        return None
    (logits,) = _operands(node)
    before, behind = _product_before(logits, varying), _product_behind(node, varying)
    if before is None or behind is None:
        return None
    (product, *_), (*_, output) = before, behind
    query, key = _operands(product)
    map_, value = _operands(output)
    groups = _groups(query, dominators)
    if groups is None or map_ not in (node, *behind) or len(_sizes(logits)) < TOKEN_AXES:
        return None  # the value times the map sums over other axes, or the keys are the images of the batch
    inside = {*before, node, *behind}
    return {
        "module_path": module_path(output),
        "fused": False,
        "query": query.name,
        "key": key.name,
        "value": value.name,
        "transposed_key": True,
        "logits": logits.name,
        "softmax": node.name,
        "head": tuple(one.name for one in before),
        "tail": tuple(one.name for one in behind),
        "node": output.name,
        "shape": _sizes(logits)[1:],
        "groups": groups,
        "closed": query is not key
        and value not in inside
        and all(user in inside for one in inside if one is not output for user in one.users),
    }


def _product_before(logits: Any, varying: set[fx.Node]) -> list[fx.Node] | None:
    """The nodes from the product of query and key to the logits, in execution order."""
    chain = [logits]
    while chain[0].target not in PRODUCTS:
        sources = [source for source in chain[0].all_input_nodes if source in varying]
        if len(sources) != 1 or len(chain) > LONGEST:
            return None
        chain.insert(0, sources[0])
    return chain if all(one in varying for one in _operands(chain[0])) else None


def _product_behind(softmax: fx.Node, varying: set[fx.Node]) -> list[fx.Node] | None:
    """The nodes from behind the softmax to the product with the value, in execution order."""
    chain: list[fx.Node] = []
    node = softmax
    while node.target not in PRODUCTS:
        following = [user for user in node.users if user in varying]
        if not following or len(chain) > LONGEST:
            return None
        read, node = node, following[0]
        if node.target not in PRODUCTS and [one for one in node.all_input_nodes if one in varying] != [read]:
            return None
        chain.append(node)
    others = [one for one in _operands(node) if one is not read]
    return chain if len(others) == 1 and others[0] in varying else None


def _varying(dominators: Dominators) -> set[fx.Node]:
    """The nodes whose values depend on the image's, and not only on its shape, as a mask of zeros does."""
    varying: set[fx.Node] = set()
    for node in dominators.depth:
        sources = dominators.data_inputs(node)
        if node.target not in FILLED and (not sources or any(source in varying for source in sources)):
            varying.add(node)
    return varying


def _groups(query: Any, dominators: Dominators) -> int | None:
    """How many rows of the query belong to one image; None where its first axis does not grow with the batch."""
    images = next(iter(dominators.depth))
    rows, batch = query.meta["val"].shape[0], images.meta["val"].shape[0]
    if not isinstance(batch, torch.SymInt):
        return int(rows) // int(batch)
    share = rows.node.expr / batch.node.expr if isinstance(rows, torch.SymInt) else None
    return int(share) if share is not None and share.is_Integer else None


def _operands(node: fx.Node) -> list[fx.Node]:
    """The tensors among a node's arguments."""
    return [one for one in node.args if isinstance(one, fx.Node)]


def _axis(node: Any) -> int:
    return int(node.args[1]) % len(_sizes(node))


def _sizes(node: Any) -> tuple[Any, ...]:
    """Of each axis; of the first one, which holds the images, whatever stands there."""
    first, *others = node.meta["val"].shape
    return first, *(int(size) for size in others)
