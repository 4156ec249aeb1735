"""Variance tuning: what the neighbourhood of the last point said corrects the gradient at this one."""

from __future__ import annotations

from typing import ClassVar

import torch

from linbp.attack.context import Context
from linbp.attack.gradient_oracle import GradientOracle
from linbp.attack.parts.estimator.base import Estimate, Estimator
from linbp.registry import part
from linbp.validation import number, whole

__all__ = ["VarianceTuning"]


@part("estimator", "vt")
class VarianceTuning(Estimator):
    """Variance tuning: the gradient, plus how far the mean gradient around the last iterate was from the one there.

        g' = g + v_(t-1),    v_t = mean_i gradient(x_t + r_i) - g,    r_i ~ U(-radius eps, radius eps)

    g is the gradient of the step, v of the step before (0 in the first). With Nesterov's momentum g is the gradient at
    the point ahead and the neighbours lie around the iterate x_t itself, as in the authors' released code
    (JHL-HUST/VT). Neighbours are not clipped to [0, 1], as there. Of the last step no neighbours are asked, since
    nothing would use them: that changes no adversarial image. In L2 the r_i are uniform in the ball.

    The sum g' is what momentum divides by its norm. Wang, He: Enhancing the Transferability of Adversarial Attacks
    through Variance Tuning, CVPR 2021, arXiv 2103.15571: 20 neighbours, radius 1.5.

    Args:
        neighbours: how many gradients are taken around each iterate, at least 1.
        radius: of the neighbourhood, in multiples of eps, above 0.
    """

    neighbours: int = 20
    radius: float = 1.5

    fewest_steps: ClassVar[int] = 2

    def __post_init__(self) -> None:
        whole(self, "neighbours", least=1)
        number(self, "radius", least=1e-9)

    def gradients_per_step(self, members: int) -> int:
        """One, and one for each neighbour, of every surrogate; the last step has no neighbours."""
        return members * (1 + self.neighbours)

    def gradients(self, steps: int, members: int) -> int:
        """As in `gradients_per_step` for each step, without the neighbours of the last."""
        return steps * self.gradients_per_step(members) - members * self.neighbours

    def bind(self, context: Context) -> Estimate:
        """The tuned gradient for one batch, with a variance of zero."""
        return _Tuned(self, context)


class _Tuned:
    def __init__(self, estimator: VarianceTuning, context: Context) -> None:
        self.estimator, self.context = estimator, context
        self.variance: torch.Tensor | None = None

    def __call__(self, oracle: GradientOracle, images: torch.Tensor) -> torch.Tensor:
        found = oracle.gradient(images)
        tuned = found if self.variance is None else found + self.variance
        if oracle.step + 1 < self.context.steps:
            self.variance = self._around(oracle) - found
        return tuned

    def _around(self, oracle: GradientOracle) -> torch.Tensor:
        """The mean gradient in the neighbourhood of the iterate."""
        total = torch.zeros_like(oracle.iterate)
        for index in range(self.estimator.neighbours):
            sample = f"neighbour {index}"
            change = self.context.budget.sample(oracle.draws.under(sample), "vt", self.estimator.radius)
            total += oracle.gradient(oracle.iterate + change, sample)
        return total / self.estimator.neighbours
