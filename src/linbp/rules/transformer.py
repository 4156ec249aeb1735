"""Transformer blocks in a graph, and gradients token by token."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from linbp.errors import RuleError
from linbp.graph import Attention, Junction, Structure, spatial_size

__all__ = [
    "Block",
    "blocks_from_the_end",
    "lines_of_extremes",
    "tokens_of_extremes",
    "tokens_of_extremes_in_maps",
]

IMAGE_RANK = 4


@dataclass(frozen=True, kw_only=True)
class Block:
    """One transformer block.

    Attributes:
        depth: how many blocks lie between it and the output.
        attention: which rules may act on.
        mlp: the residual sum of its MLP, or None where it has none of its own.
    """

    depth: int
    attention: Attention
    mlp: Junction | None


def blocks_from_the_end(rule: str, structure: Structure) -> tuple[Block, ...]:
    """The blocks of a network, the last one first: one for each closed attention.

    The MLP of a block is the first residual sum behind its attention, and before the next, whose branch holds
    activations and no attention.

    Args:
        rule: what messages call the rule.
        structure: of the network.

    Raises:
        RuleError: there is none.
    """
    closed = [attention for attention in structure.attentions if attention.closed]
    if not closed:
        few = "no attention" if not structure.attentions else "no attention that nothing else reads the inside of"
        raise RuleError(
            f"{rule} would have no effect: the network has {few}.",
            f"Leave {rule} out: it acts on vision transformers; `linbp inspect` lists the attentions.",
        )
    ends = [structure.ranks[attention.node] for attention in structure.attentions]
    found = []
    for attention in closed:
        rank = structure.ranks[attention.node]
        following = min((end for end in ends if end > rank), default=None)
        found.append((attention, _mlp(rank, following, structure)))
    return tuple(
        Block(depth=depth, attention=attention, mlp=mlp) for depth, (attention, mlp) in enumerate(reversed(found))
    )


def _mlp(rank: int, following: int | None, structure: Structure) -> Junction | None:
    holding = {attention.node for attention in structure.attentions}
    for junction in structure.junctions:
        end = structure.ranks[junction.node]
        if end < rank or (following is not None and end > following):
            continue
        if junction.sites and holding.isdisjoint(junction.branch):
            return junction
    return None


def tokens_of_extremes(gradient: torch.Tensor) -> torch.Tensor:
    """Which values of a gradient (..., tokens, channels) are the largest or smallest of their channel: 0 or 1."""
    hits = torch.zeros(gradient.shape, dtype=gradient.dtype, device=gradient.device)
    for places in (gradient.argmax(-2, keepdim=True), gradient.argmin(-2, keepdim=True)):
        hits.scatter_(-2, places, 1)
    return hits


def tokens_of_extremes_in_maps(gradient: torch.Tensor) -> torch.Tensor:
    """The same for what an MLP returns: (N, tokens, channels), (N, H, W, channels) or (N, channels, H, W)."""
    if gradient.ndim != IMAGE_RANK:
        return tokens_of_extremes(gradient)
    shape = gradient.shape[1:]
    if spatial_size(shape) == tuple(shape[1:]):
        return tokens_of_extremes(gradient.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(gradient.shape)
    return tokens_of_extremes(gradient.flatten(1, 2)).reshape(gradient.shape)


def lines_of_extremes(gradient: torch.Tensor) -> torch.Tensor:
    """How often each entry (..., queries, keys) lies in a row or column through its map's largest or smallest one.

    In maps of one query, as those of a class token alone, only columns count.
    """
    queries, keys = gradient.shape[-2:]
    flat = gradient.flatten(-2)
    hits = torch.zeros_like(gradient)
    for place in (flat.argmax(-1), flat.argmin(-1)):
        column = torch.arange(keys, device=gradient.device) == (place % keys)[..., None]
        hits += column[..., None, :]
        if queries > 1:
            row = torch.arange(queries, device=gradient.device) == (place // keys)[..., None]
            hits += row[..., :, None]
    return hits
