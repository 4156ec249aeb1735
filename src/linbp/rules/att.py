"""ATT: the extremes of gradients are weakened by how much they spread (Ming et al., NeurIPS 2024)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from linbp.errors import RuleError
from linbp.graph import AttentionGradients, Memory, Plan, Structure, TensorBackward
from linbp.registry import part
from linbp.rules.transformer import (
    blocks_from_the_end,
    lines_of_extremes,
    tokens_of_extremes,
    tokens_of_extremes_in_maps,
)
from linbp.validation import number, whole

__all__ = ["ATT"]

HALF, SLOPE = 0.5, 0.01


@dataclass(frozen=True)
class Weakening:
    """How much of an extreme is passed, from the spread here and in the block before, image by image.

    Attributes:
        memory: holds each image's variance by place.
        place: kind of place, and number where a block has several.
        depth: of the block, from the output.
        factor: of all gradients.
        groups: rows of the tensor for each image.
    """

    memory: Memory
    place: tuple[str, int]
    depth: int
    factor: float
    groups: int

    def __call__(self, gradient: torch.Tensor, hits: torch.Tensor) -> torch.Tensor:
        """The weakened gradient, times the share as often as `hits` says."""
        share = self._share(gradient).view(-1, *[1] * (gradient.ndim - 1))
        result = gradient * share**hits
        self.memory.kept[self.place, self.depth] = self._variance(result)
        return result

    def _share(self, gradient: torch.Tensor) -> torch.Tensor:
        """clip(0.5 + 0.01 (1 - sqrt(V / V')), 0, 1), of each row."""
        variance, before = self._variance(gradient), self.memory.kept.get((self.place, self.depth - 1))
        if before is None:
            share = torch.full_like(variance, HALF)
        else:
            known = before > 0
            ratio = (variance / torch.where(known, before, 1)).sqrt()
            share = torch.where(known, (HALF + SLOPE * (1 - ratio)).clamp(0, 1), HALF)
        return share.repeat_interleave(self.groups)

    def _variance(self, gradient: torch.Tensor) -> torch.Tensor:
        """Of each image's values, with n - 1; (N,)."""
        return gradient.reshape(len(gradient) // self.groups, -1).var(dim=1)


@dataclass(frozen=True)
class WeakLogits:
    """At the softmax's input; nothing passes where the factor is 0."""

    weakening: Weakening

    def __call__(
        self, gradient: torch.Tensor, attention: AttentionGradients
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if not self.weakening.factor:
            return attention.from_logits(gradient, torch.zeros_like(attention.logits))
        at_logits = attention.logits_gradient(gradient) * self.weakening.factor
        return attention.from_logits(gradient, self.weakening(at_logits, lines_of_extremes(at_logits)))


@dataclass(frozen=True)
class WeakTokens:
    """At a tensor of tokens, with what finds a channel's extremes there."""

    weakening: Weakening
    extremes: Callable[[torch.Tensor], torch.Tensor]

    def __call__(self, gradient: torch.Tensor) -> torch.Tensor:
        result = gradient * self.weakening.factor
        return self.weakening(result, self.extremes(result))


@part("rule", "att")
class ATT:
    """Adaptive token tuning: as TGR, but extremes are multiplied by a share that follows the spread of the gradient.

        g <- factor g,    then at the places that `tgr` cuts g <- f g,    f = clip(0.5 + 0.01 (1 - sqrt(V / V')), 0, 1)

    V is the variance of an image's weakened gradient at this place, V' that of the finished gradient at the same kind
    of place in the block before, nearer the output; f = 0.5 in the first, and where V' is 0. Where rows and columns of
    extremes cross, f counts as often. At the softmax's input of the last `truncated` blocks the gradient is 0. Factors:
    `attention`, `projection` and `mlp`, at the places of `tgr`, but at the MLP's output before constants (LayerScale)
    multiply it. One V is of query, key and value together where one layer makes all three; three layers have three.
    Ming, Ren, Wang, Feng: Boosting the Transferability of Adversarial Attack on Vision Transformer with Adaptive Token
    Tuning, NeurIPS 2024: for a ViT-B 0.45, 0.7, 0.65 and 2 of 12 blocks; PiT-B 0.25, 0.6, 0.65 and 4 of 13; CaiT-S24
    0.3, 1, 0.6 and 21 of 25; Visformer-S 0.4, 0.8, 0.3 and none. It costs one gradient. The method's PatchOut is
    `paced-patchout`.

    The authors' code finds extremes and spread in the first image of a batch, and places by the model's name;
    TransferAttack's class stops with an error in the third step.

    Args:
        attention: factor at the softmax's input, above 0.
        projection: factor at query, key and value, above 0.
        mlp: factor at the end of the MLP branch, above 0.
        truncated: how many of the last blocks pass nothing through their maps, at least 0.

    Raises:
        RuleError: the network has no attention, or not more blocks than are truncated.
    """

    attention: float = 0.45
    projection: float = 0.7
    mlp: float = 0.65
    truncated: int = 2

    def __post_init__(self) -> None:
        for name in ("attention", "projection", "mlp"):
            number(self, name, least=1e-9)
        whole(self, "truncated", least=0)

    def plan(self, structure: Structure) -> Plan:
        """The three places of every block, with one memory."""
        blocks, memory = blocks_from_the_end("att", structure), Memory()
        if self.truncated >= len(blocks):
            raise RuleError(
                f"att(truncated={self.truncated}): the network has {len(blocks)} attentions, and none would be left.",
                "Give fewer.",
            )
        attentions, tensors, edges = {}, dict[str, TensorBackward](), dict[int, TensorBackward]()
        for block in blocks:
            groups, index = block.attention.groups, block.attention.index
            factor = 0.0 if block.depth < self.truncated else float(self.attention)
            attentions[index] = WeakLogits(Weakening(memory, ("attention", 0), block.depth, factor, groups))
            for number_, name in enumerate(block.attention.projections):
                place = ("projection", number_)
                weakening = Weakening(memory, place, block.depth, float(self.projection), groups)
                tensors[name] = WeakTokens(weakening, tokens_of_extremes)
            if block.mlp is not None:
                weakening = Weakening(memory, ("mlp", 0), block.depth, float(self.mlp), 1)
                weak = WeakTokens(weakening, tokens_of_extremes_in_maps)
                if block.mlp.unscaled is None:
                    edges[block.mlp.index] = weak
                else:
                    tensors[block.mlp.unscaled] = weak
        return Plan(
            attentions=attentions,
            tensors=tensors,
            edges=edges,
            memories=(memory,),
            notes=(f"att: {len(blocks)} blocks, nothing through the maps of the last {self.truncated}",),
        )
