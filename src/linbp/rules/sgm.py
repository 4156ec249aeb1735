"""SGM: let less of the gradient through residual branches (Wu et al., ICLR 2020)."""

from __future__ import annotations

from linbp.errors import RecipeError, RuleError
from linbp.graph import Plan, Structure
from linbp.parts import number, part

__all__ = ["SGM"]


@part("rule", "sgm")
class SGM:
    """Skip gradient method: the gradient of every residual branch is multiplied by gamma.

        gradient at the fork = S' g + gamma B' g

    with S the skip (identity or projection) and B the branch. Wu et al.: Skip Connections Matter: On the
    Transferability of Adversarial Examples Generated with ResNets, ICLR 2020, arXiv 2002.05990; the default
    is theirs for ResNets (0.5 for DenseNets, whose concatenations are no sums and are not touched here).

    Args:
        gamma: in [0, 1); 1 would be the ordinary gradient.

    Raises:
        RuleError: gamma is outside, or the network has no residual sum.
    """

    gamma: float = 0.2

    def __post_init__(self) -> None:
        number(self, "gamma", least=0.0, most=1.0)
        if self.gamma == 1:
            raise RecipeError("sgm(gamma=1) would have no effect.", "Give a gamma below 1, or leave sgm out.")

    def plan(self, structure: Structure) -> Plan:
        """A factor on the branch of every junction."""
        branches = [junction.index for junction in structure.junctions if junction.branch]
        if not branches:
            raise RuleError(
                "sgm would have no effect: the network has no residual sum.",
                "Leave sgm out; `linbp inspect` lists the junctions.",
            )
        return Plan(
            factors={index: float(self.gamma) for index in branches},
            notes=(f"sgm: the gradient of {len(branches)} branches times {self.gamma:g}",),
        )
