"""PNA: attention maps are constants in the backward pass (Wei et al., AAAI 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from linbp.graph import AttentionGradients, Plan, Structure
from linbp.registry import part
from linbp.rules.transformer import blocks_from_the_end

__all__ = ["PNA"]


@dataclass(frozen=True)
class ConstantMap:
    """Nothing passes the softmax: only the value carries the gradient."""

    def __call__(
        self, gradient: torch.Tensor, attention: AttentionGradients
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return attention.from_logits(gradient, torch.zeros_like(attention.logits))


@part("rule", "pna")
class PNA:
    """Pay no attention: the gradient passes every attention as if its map were a constant.

        gradient at the softmax's input = 0;  at the value it is the ordinary one

    Wei, Chen, Goldblum, Wu, Goldstein, Jiang: Towards Transferable Adversarial Attacks on Vision Transformers, AAAI
    2022, arXiv 2109.04176; with PatchOut as there: `pna-patchout`. It acts on every attention of any network, fused or
    not, image by image, and costs one gradient. The authors' third part, a reward of 0.1 |x - x0|_2, is no part here.
    Public code finds places by the model's name, leaves the first class attention of a CaiT ordinary, and does nothing
    where attention is one fused operation, as it is in today's timm.

    Raises:
        RuleError: the network has no attention.
    """

    def plan(self, structure: Structure) -> Plan:
        """A constant map in every attention."""
        blocks = blocks_from_the_end("pna", structure)
        return Plan(
            attentions={block.attention.index: ConstantMap() for block in blocks},
            notes=(f"pna: the maps of {len(blocks)} of {len(structure.attentions)} attentions are constants",),
        )
