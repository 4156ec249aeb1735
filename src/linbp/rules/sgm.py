"""SGM: let less of the gradient through residual branches (Wu et al., ICLR 2020)."""

from __future__ import annotations

from typing import Literal

from linbp.errors import RecipeError, RuleError
from linbp.graph import Plan, Scale, Structure
from linbp.registry import part
from linbp.validation import number, one_of

__all__ = ["SGM"]


KINDS = {"identity": "an identity", "projection": "a projection"}
"""Of skips, and in words."""


@part("rule", "sgm")
class SGM:
    """Skip gradient method: the gradient of every residual branch is multiplied by gamma.

        gradient at the fork = S' g + gamma B' g

    with S the skip (identity or projection) and B the branch. Wu et al.: Skip Connections Matter: On the
    Transferability of Adversarial Examples Generated with ResNets, ICLR 2020, arXiv 2002.05990; the default
    is theirs for ResNets (0.5 for DenseNets, whose concatenations are no sums and are not touched here).

    Args:
        gamma: in [0, 1); 1 would be the ordinary gradient.
        skips: whose branches count, by what is beside them: `all` is the formula; `identity` takes those beside an
            identity, as other frameworks do on ResNet-50 (`docs/elsewhere.md`); `projection` the others, beside which
            the skip computes something, such as a convolution or a pooling. A projection with a stride passes a coarse
            gradient, and with a small gamma little else is left (`docs/cifar10.md`).

    Raises:
        RecipeError: a parameter is out of range.
        RuleError: the network has no residual sum with such a skip.
    """

    gamma: float = 0.2
    skips: Literal["all", "identity", "projection"] = "all"

    def __post_init__(self) -> None:
        number(self, "gamma", least=0.0, most=1.0)
        one_of(self, "skips", ("all", *KINDS))
        if self.gamma == 1:
            raise RecipeError("sgm(gamma=1) would have no effect.", "Give a gamma below 1, or leave sgm out.")

    def plan(self, structure: Structure) -> Plan:
        """gamma g into the branch of every junction, or of those with the skip asked for."""
        every = [junction for junction in structure.junctions if junction.branch]
        if not every:
            raise RuleError(
                "sgm would have no effect: the network has no residual sum.",
                "Leave sgm out: it acts on sums, and not on the concatenations of a DenseNet.",
            )
        identity = self.skips == "identity"
        chosen = [junction for junction in every if self.skips == "all" or junction.skip_is_identity is identity]
        beside = "" if self.skips == "all" else f" beside {KINDS[self.skips]}"
        if not chosen:
            raise RuleError(
                f"sgm(skips={self.skips}) would have no effect: the network has no branch{beside}.",
                "Write sgm(skips=all); `linbp inspect` lists the junctions.",
            )
        return Plan(
            edges={junction.index: Scale(float(self.gamma)) for junction in chosen},
            notes=(f"sgm: the gradient of {len(chosen)} branches{beside} times {self.gamma:g}",),
        )
