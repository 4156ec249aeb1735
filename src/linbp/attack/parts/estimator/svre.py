"""SVRE: an inner attack on one surrogate after the other, whose gradients are corrected by the ensemble's."""

from __future__ import annotations

import torch

from linbp.attack.context import Context
from linbp.attack.gradient_oracle import GradientOracle
from linbp.attack.parts.estimator.base import Estimate, Estimator, refuse_one_member
from linbp.registry import part
from linbp.validation import number, whole

__all__ = ["VarianceReducedEnsemble"]


@part("estimator", "svre")
class VarianceReducedEnsemble(Estimator):
    """Stochastic variance reduced ensemble: in every step an inner attack with momentum, each of its steps on one
    surrogate drawn at random; the sum of its gradients is the gradient of the step.

        g_j = gradient_k(y_j) - (gradient_k(x) - gradient_ens(x)),    k drawn anew for each j
        G_j = decay G_(j-1) + g_j / mean |g_j|,    y_(j+1) = project(y_j + step sign(G_j)),    y_1 = x, G_0 = 0

    for j = 1 .. rounds K with K surrogates; the last G is the result. In L2 Euclidean norms take the place of the mean
    and of the sign. gradient_k is that of surrogate k's own objective, gradient_ens the ensemble's with its fuse.

    Which surrogate comes when is drawn from the seed and the step, the same for all images: with a draw of each image's
    own every inner step would run all surrogates, and this one, too, depends on neither companions nor order. But the
    images of one run share their luck: repeat with other seeds to see how much it matters. With random transforms the
    two gradients at x share the draws of the step, so that their difference is that of the surrogates alone; every
    inner step has its own. gradient_k(x) is computed once a step for each k, besides the ensemble's, and not in every
    inner step as published.

    Needs at least two surrogates. Xiong et al.: Stochastic Variance Reduced Ensemble Adversarial Attack for Boosting
    the Adversarial Transferability, CVPR 2022, arXiv 2111.10752; released code: JHL-HUST/SVRE. Four rounds of four
    surrogates, decay 1 and inner steps of the outer step's size are theirs.

    Args:
        rounds: inner steps for each surrogate, at least 1.
        decay: how much of the inner sum is kept from inner step to inner step, at least 0.
    """

    rounds: int = 4
    decay: float = 1.0

    def __post_init__(self) -> None:
        whole(self, "rounds", least=1)
        number(self, "decay", least=0.0)

    def gradients_per_step(self, members: int) -> int:
        """One of every surrogate for the ensemble, one of every surrogate alone, and one for each inner step."""
        return (2 + self.rounds) * members

    def check_members(self, members: int) -> None:
        """Refuse a single surrogate."""
        refuse_one_member(self, members)

    def bind(self, context: Context) -> Estimate:
        """The sum of an inner attack."""
        budget = context.budget

        def estimate(oracle: GradientOracle, images: torch.Tensor) -> torch.Tensor:
            ensemble = oracle.gradient(images)
            excess = [oracle.member(index, images) - ensemble for index in range(oracle.members)]
            choice = oracle.draws.common("svre")
            inner, total = images, torch.zeros_like(images)
            for turn in range(self.rounds * oracle.members):
                index = int(choice.integers(oracle.members))
                found = oracle.member(index, inner, f"inner {turn}") - excess[index]
                total = self.decay * total + budget.unit(found)
                inner = budget.project(inner + context.step_size * budget.direction(total))
            return total

        return estimate
