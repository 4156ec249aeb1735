"""TGR: the extremes of gradients are cut, token by token (Zhang et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from linbp.errors import RecipeError
from linbp.graph import AttentionGradients, Plan, Structure, TensorBackward
from linbp.registry import part
from linbp.rules.transformer import (
    blocks_from_the_end,
    lines_of_extremes,
    tokens_of_extremes,
    tokens_of_extremes_in_maps,
)
from linbp.validation import number

__all__ = ["TGR"]


@dataclass(frozen=True)
class CutLogits:
    """At the softmax's input: times a factor, and zero in the rows and columns of each map's extremes."""

    factor: float

    def __call__(
        self, gradient: torch.Tensor, attention: AttentionGradients
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        at_logits = attention.logits_gradient(gradient) * self.factor
        return attention.from_logits(gradient, at_logits.masked_fill(lines_of_extremes(at_logits) > 0, 0))


@dataclass(frozen=True)
class CutTokens:
    """At a tensor of tokens: times a factor, and zero where a channel has its largest and its smallest value.

    Attributes:
        factor: of the gradient.
        extremes: finds those values.
    """

    factor: float
    extremes: Callable[[torch.Tensor], torch.Tensor]

    def __call__(self, gradient: torch.Tensor) -> torch.Tensor:
        result = gradient * self.factor
        return result.masked_fill(self.extremes(result) > 0, 0)


@part("rule", "tgr")
class TGR:
    """Token gradient regularisation: gradients in transformer blocks are scaled, and their extremes are cut.

        at the softmax's input:              g <- attention g, and 0 in the rows and columns through each map's largest
                                             and smallest entry
        at the outputs of query, key, value: g <- projection g, and 0 at each channel's largest and smallest token
        at the output of the MLP branch:     g <- mlp g, and likewise 0

    Extremes are by value, found in each image, in each map or channel of its own (in a Swin transformer in each
    window). Zhang, Huang, Wu, Lyu: Transferable Adversarial Attacks on Vision Transformers with Token Gradient
    Regularization, CVPR 2023, arXiv 2303.15754: 0.25, 0.75, 0.5. It costs one gradient. A factor of 1 keeps only the
    cut. SGM's factors are in it: `sgm` beside it multiplies.

    Public code acts at places known by the model's name, cuts nothing under DeiT's distilled name, does nothing where
    attention is fused, and looks for extremes in the first image of a batch, or in all tokens of all images.

    Args:
        attention: factor at the softmax's input, at least 0.
        projection: factor at query, key and value, at least 0.
        mlp: factor at the end of the MLP branch, at least 0.

    Raises:
        RuleError: the network has no attention.
    """

    attention: float = 0.25
    projection: float = 0.75
    mlp: float = 0.5

    def __post_init__(self) -> None:
        for name in ("attention", "projection", "mlp"):
            number(self, name, least=0)
        if self.attention == self.projection == self.mlp == 0:
            raise RecipeError("tgr(attention=0, projection=0, mlp=0) leaves no gradient.", "Give one above 0.")

    def plan(self, structure: Structure) -> Plan:
        """The three places of every block."""
        blocks = blocks_from_the_end("tgr", structure)
        tensors: dict[str, TensorBackward] = {
            name: CutTokens(float(self.projection), tokens_of_extremes)
            for block in blocks
            for name in block.attention.projections
        }
        edges: dict[int, Callable[[torch.Tensor], torch.Tensor]] = {
            block.mlp.index: CutTokens(float(self.mlp), tokens_of_extremes_in_maps)
            for block in blocks
            if block.mlp is not None
        }
        return Plan(
            attentions={block.attention.index: CutLogits(float(self.attention)) for block in blocks},
            tensors=tensors,
            edges=edges,
            notes=(f"tgr: the extremes of {len(blocks)} attentions and {len(edges)} MLPs are cut",),
        )
