"""SGM: let less of the gradient through residual branches (Wu et al., ICLR 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from linbp.errors import RecipeError, RuleError
from linbp.graph import Junction, Plan, Scale, Structure
from linbp.registry import part
from linbp.validation import number, one_of

__all__ = ["SGM"]


KINDS = {"identity": "an identity", "projection": "a projection"}
"""Of skips, and in words."""


@dataclass(frozen=True)
class ScaledOperands:
    """Some operands of a concatenation get their gradient times a constant.

    Attributes:
        operands: their numbers.
        gamma: the constant.
    """

    operands: tuple[int, ...]
    gamma: float

    def __call__(self, gradient: torch.Tensor, operand: int) -> torch.Tensor:
        return gradient * self.gamma if operand in self.operands else gradient


@part("rule", "sgm")
class SGM:
    """Skip gradient method: the gradient of every residual branch is multiplied by gamma.

        gradient at the fork = S' g + gamma B' g

    with S the skip (identity or projection) and B the branch. In a DenseNet (`skips=dense`) a layer f makes the
    concatenation [h, f(h)] of h, and the gradient that enters its new channels is multiplied:

        gradient at h = g_h + gamma f' g_f

    so that a path through k layers has gamma^k. Wu et al.: Skip Connections Matter: On the Transferability of
    Adversarial Examples Generated with ResNets, ICLR 2020, arXiv 2002.05990; the default is theirs for ResNets, and
    0.5 for DenseNets. It costs one gradient. Their code multiplies by sqrt(gamma) at both ReLUs of a dense layer and at
    the stem's, which is the formula times a constant; for ResNets it divides by a standard deviation over the batch,
    which changes no direction of an image alone.

    Args:
        gamma: in [0, 1); 1 would be the ordinary gradient.
        skips: whose branches count, by what is beside them: `all` residual sums is the formula; `identity` takes those
            beside an identity, as other frameworks do on ResNet-50 (`docs/elsewhere.md`); `projection` the others,
            beside which the skip computes something, such as a convolution or a pooling. A projection with a stride
            passes a coarse gradient, and with a small gamma little else is left (`docs/cifar10.md`). `dense` takes no
            sums, but the operands of concatenations that are computed from another operand.
        branches: `all`, or `mlp`: only branches without attention, as PNA's authors do beside it, with 0.5.

    Raises:
        RecipeError: a parameter is out of range.
        RuleError: the network has no residual sum with such a skip and branch, or no such concatenation.
    """

    gamma: float = 0.2
    skips: Literal["all", "identity", "projection", "dense"] = "all"
    branches: Literal["all", "mlp"] = "all"

    def __post_init__(self) -> None:
        number(self, "gamma", least=0.0, most=1.0)
        one_of(self, "skips", ("all", *KINDS, "dense"))
        one_of(self, "branches", ("all", "mlp"))
        if self.gamma == 1:
            raise RecipeError("sgm(gamma=1) would have no effect.", "Give a gamma below 1, or leave sgm out.")
        if self.skips == "dense" and self.branches != "all":
            raise RecipeError("sgm(skips=dense) acts on concatenations, which have no branches.", "Leave branches out.")

    def plan(self, structure: Structure) -> Plan:
        """gamma g into the branch of every junction, or of those asked for; or at the operands of concatenations."""
        if self.skips == "dense":
            return self._dense(structure)
        every = [junction for junction in structure.junctions if junction.branch]
        if not every:
            dense = any(concatenation.dense for concatenation in structure.concatenations)
            raise RuleError(
                "sgm would have no effect: the network has no residual sum.",
                "Write sgm(gamma=0.5, skips=dense), which acts on its concatenations." if dense else "Leave sgm out.",
            )
        chosen, words = self._chosen(every, structure)
        if not chosen:
            asked = ", ".join(
                f"{name}={getattr(self, name)}" for name in ("skips", "branches") if getattr(self, name) != "all"
            )
            raise RuleError(
                f"sgm({asked}) would have no effect: the network has no branch{words}.",
                "Write sgm(skips=all); `linbp inspect` lists the junctions.",
            )
        return Plan(
            edges={junction.index: Scale(float(self.gamma)) for junction in chosen},
            notes=(f"sgm: the gradient of {len(chosen)} branches{words} times {self.gamma:g}",),
        )

    def _chosen(self, every: list[Junction], structure: Structure) -> tuple[list[Junction], str]:
        """The junctions that are asked for, and what they are in words."""
        chosen, words = every, ""
        if self.skips != "all":
            identity = self.skips == "identity"
            chosen = [junction for junction in chosen if junction.skip_is_identity is identity]
            words += f" beside {KINDS[self.skips]}"
        if self.branches == "mlp":
            attentions = {attention.node for attention in structure.attentions}
            chosen = [junction for junction in chosen if attentions.isdisjoint(junction.branch)]
            words += " without attention"
        return chosen, words

    def _dense(self, structure: Structure) -> Plan:
        found = {
            one.index: ScaledOperands(one.dense, float(self.gamma)) for one in structure.concatenations if one.dense
        }
        if not found:
            raise RuleError(
                "sgm(skips=dense) would have no effect: in no concatenation is one operand computed from another.",
                "Write sgm(skips=all), which acts on residual sums.",
            )
        return Plan(
            concatenations=found,
            notes=(f"sgm: the gradient of new channels in {len(found)} concatenations times {self.gamma:g}",),
        )
