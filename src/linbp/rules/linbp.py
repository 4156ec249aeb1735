"""LinBP: backpropagate as if some activations were not there (Guo, Li, Chen, NeurIPS 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from linbp.errors import RecipeError, RuleError
from linbp.graph import (
    BranchGradients,
    Junction,
    Needs,
    Operation,
    Plan,
    Position,
    Scale,
    SiteBackward,
    Structure,
    norm_ratio,
)
from linbp.registry import part
from linbp.rules.sites import Which, check_sites, select_sites
from linbp.validation import number, one_of

__all__ = ["LinBP", "Rebalance"]

Rebalance = Literal["branch", "site"]


@dataclass(frozen=True)
class LinearSite:
    """At an activation with derivative d, the gradient g passes as if all, or a part, of it were not there.

        h = (d + leak (1 - d)) g,    and with `keep_norm`    |d g| / |h| h,  image by image

    Attributes:
        leak: from the ordinary derivative (0, which is refused) to 1 (1).
        keep_norm: whether the gradient gets the norm of the ordinary one.
    """

    leak: float
    keep_norm: bool

    @property
    def needs(self) -> Needs:
        """The derivative, unless the gradient passes as it is."""
        return "nothing" if self.leak == 1 and not self.keep_norm else "derivative"

    def __call__(self, gradient: torch.Tensor, ordinary: Operation) -> torch.Tensor:
        if self.needs == "nothing":
            return gradient
        masked = ordinary(gradient)
        passed = gradient if self.leak == 1 else masked + self.leak * (gradient - masked)
        return passed * norm_ratio(masked, passed) if self.keep_norm else passed


@dataclass(frozen=True)
class RebalancedBranch:
    """A branch with linear sites gives gamma alpha u, with alpha = |v| / |u|, one ratio an image.

    Attributes:
        gamma: SGM's decay.
    """

    gamma: float

    def __call__(self, gradient: torch.Tensor, branch: BranchGradients) -> torch.Tensor:
        u = branch.rule_gradient(gradient)
        alpha = norm_ratio(branch.ordinary_norm(gradient), u)  # |v| / |u|
        return u.mul_(alpha.mul_(self.gamma))

    def scaled(self, factor: float) -> RebalancedBranch:
        """The same times a constant."""
        return RebalancedBranch(self.gamma * factor)


@part("rule", "linbp")
class LinBP:
    """Linear backpropagation: the forward pass is the ordinary one, the gradient skips activations from a position on.

    At a linearised site the derivative is 1 instead of the activation's. In a residual block with branch
    W3 relu W2 relu W1, masks M1, M2 of this forward pass and gradient g at the sum,

        u = W1' W2' W3' g,    v = W1' M1 W2' M2 W3' g,    alpha = |v| / |u|  (L2, one ratio an image),
        gradient at the fork = S' g + gamma alpha u,

    with S the identity or the projection ("gradient branching with care" in the paper, and the released
    code). The ratio is 0 where |u| is 0. Guo, Li, Chen: Backpropagating Linearly Improves Transferability of
    Adversarial Examples, NeurIPS 2020, arXiv 2012.03528.

    Args:
        start: where linear backpropagation begins: a site's index (`7`), a fraction of the sites (`0.5`), a module
            path (`layer3.1`), `default`, the published position of this architecture (also without `start`), or `auto`,
            which the networks of `--proxy` choose (`choose_start`); it reaches from there to the output.
        rebalance: `branch` as released: the ratio above in every closed branch with linearised sites; sites outside
            branches are not rescaled. `site`: every linearised site scales its gradient to the norm of the ordinary
            one, per image (TA-Bench does so over the batch). `none` (None): no scaling.
        gamma: multiplies the gradient of every branch with linearised sites (SGM's decay, 1 is LinBP alone).
        leak: in (0, 1]; how much of what the activation would have stopped is passed. 1 is LinBP as released: the
            derivative is d + leak (1 - d) where the activation's is d, so that an inactive ReLU passes `leak`. Not of
            the paper: on one network of inverted residuals, 0.1 with `rebalance=none` was better than 1 and than the
            ordinary gradient (`docs/edgetpu.md`).
        sites: which sites from `start` on: by default all but gates and activations after a sum. `inside`: of those,
            the ones in branches. `outside`: the ones outside branches. `all`: those after a sum too. Or a list of
            sites' numbers.

    Raises:
        RecipeError: a parameter is out of range.
        RuleError: the position matches nothing, no site is reached, or gamma has no branch to act on.
    """

    start: Position | None = None
    rebalance: Rebalance | None = "branch"
    gamma: float = 1.0
    leak: float = 1.0
    sites: Which | tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        one_of(self, "rebalance", ("branch", "site", None))
        number(self, "gamma", least=0.0)
        number(self, "leak", least=0.0, most=1.0)
        if self.leak == 0:
            raise RecipeError("linbp(leak=0) would have no effect.", "Give a leak above 0, or leave linbp out.")
        check_sites(self)

    def plan(self, structure: Structure) -> Plan:
        """Linear sites from the position on, and the ratio in the closed branches that hold them."""
        selected = select_sites("linbp", self.start, self.sites, structure)
        chosen, notes = set(selected.indices), list(selected.notes)
        branches = [junction for junction in structure.junctions if _sites_in(junction, structure, chosen)]
        open_sites: set[int] = set()
        if self.rebalance == "branch":
            branches = [junction for junction in branches if junction.closed]
            in_closed = set().union(*(_sites_in(junction, structure, chosen) for junction in branches))
            open_sites = {index for index in chosen - in_closed if structure.sites[index].junction is not None}
            chosen -= open_sites
            if not chosen:
                raise RuleError(
                    f"linbp reaches no site: all {len(open_sites)} from {selected.start!r} on are in open branches.",
                    "Use rebalance=site or rebalance=none; `linbp inspect` shows the junctions.",
                )
        if self.gamma != 1 and not branches:
            raise RuleError(
                f"gamma={self.gamma} would have no effect: no branch holds a linearised site.",
                "Leave gamma out, or start earlier.",
            )
        gamma, rescaled = float(self.gamma), branches if self.rebalance == "branch" else []
        linear = "linear" if self.leak == 1 else f"linear to {self.leak:g}"
        notes.append(
            f"linbp: {len(chosen)} of {len(structure.sites)} sites are {linear}, {len(rescaled)} branches rescaled"
        )
        if open_sites:
            notes.append(
                f"{len(open_sites)} sites stay ordinary: their branch is not closed, so it has no ratio "
                "(rebalance=site or none linearises them)"
            )
        site: SiteBackward = LinearSite(float(self.leak), self.rebalance == "site")
        return Plan(
            sites=dict.fromkeys(sorted(chosen), site),
            branches={branch.index: RebalancedBranch(gamma) for branch in rescaled},
            edges={branch.index: Scale(gamma) for branch in branches} if gamma != 1 and not rescaled else {},
            notes=tuple(notes),
        )


def _sites_in(junction: Junction, structure: Structure, chosen: set[int]) -> set[int]:
    """The chosen sites in a junction's branch, gates among them where they were asked for by number."""
    inside = set(junction.branch)
    return {index for index in chosen if structure.sites[index].node in inside}
