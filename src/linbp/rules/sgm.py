"""SGM: let less of the gradient through residual branches (Wu et al., ICLR 2020)."""

from __future__ import annotations

from typing import Literal

from linbp.errors import RecipeError, RuleError
from linbp.graph import Plan, Structure
from linbp.parts import number, one_of, part

__all__ = ["SGM"]


KINDS = {"identity": "the identity", "projection": "a projection"}
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
        skips: whose branches count, by what is beside them: `all` is the formula; `identity` leaves out those beside a
            projection, as code in use does (`docs/elsewhere.md`); `projection` is those alone. A projection with a
            stride passes a coarse gradient, and with a small gamma little else is left (`docs/cifar10.md`).

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
        """A factor on the branch of every junction, or of those with the skip asked for."""
        every = [junction for junction in structure.junctions if junction.branch]
        branches = [
            junction.index
            for junction in every
            if self.skips == "all" or (self.skips == "identity") is junction.skip_is_identity
        ]
        if not branches:
            beside = f" whose skip is {KINDS[self.skips]}" if every else ""
            raise RuleError(
                f"sgm would have no effect: the network has no residual sum{beside}.",
                "Leave sgm out; `linbp inspect` lists the junctions.",
            )
        return Plan(
            factors={index: float(self.gamma) for index in branches},
            notes=(f"sgm: the gradient of {len(branches)} branches times {self.gamma:g}",),
        )
