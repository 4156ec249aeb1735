"""PGN: gradients that lead to where the gradient itself is small."""

from __future__ import annotations

import torch

from linbp.attack.context import Context
from linbp.attack.gradient_oracle import GradientOracle
from linbp.attack.parts.estimator.base import Estimate, Estimator
from linbp.registry import part
from linbp.validation import number, whole

__all__ = ["PenalisedGradient"]


@part("estimator", "pgn")
class PenalisedGradient(Estimator):
    """Penalising the gradient's norm: the mean, over points around the image, of the gradient there and of one a step
    behind, against the gradient.

        g = mean_i (1 - balance) g1_i + balance g2_i
        g1_i = gradient(x_i),    g2_i = gradient(x_i - step g1_i / mean |g1_i|),    x_i = x + U(-radius eps, radius eps)

    which is, to first order, the gradient of the objective minus a multiple of its gradient's norm: flat maxima are
    preferred. In L2 the Euclidean norm takes the place of the mean, and the points are uniform in the ball. Neither
    point is clipped, as in the authors' released code (Trustworthy-AI-Group/PGN). The two gradients of a point share
    the draws of random transforms, since they stand for one function and how it changes.

    Ge et al.: Boosting Adversarial Transferability by Achieving Flat Local Maxima, NeurIPS 2023, arXiv 2306.05225:
    20 points, radius 3, balance 0.5, with momentum.

    Args:
        samples: how many points around the image, at least 1; two gradients each.
        radius: of the neighbourhood, in multiples of eps, above 0.
        balance: share of the gradient a step behind, above 0 and at most 1.
    """

    samples: int = 20
    radius: float = 3.0
    balance: float = 0.5

    def __post_init__(self) -> None:
        whole(self, "samples", least=1)
        number(self, "radius", least=1e-9)
        number(self, "balance", least=1e-9, most=1.0)

    def gradients_per_step(self, members: int) -> int:
        """Two for each point, of every surrogate."""
        return 2 * self.samples * members

    def bind(self, context: Context) -> Estimate:
        """The mean of both gradients over the points."""

        def estimate(oracle: GradientOracle, images: torch.Tensor) -> torch.Tensor:
            total = torch.zeros_like(images)
            for index in range(self.samples):
                sample = f"near {index}"  # a key of the draws: another word would be other images
                point = images + context.budget.sample(oracle.draws.under(sample), "pgn", self.radius)
                here = oracle.gradient(point, sample)
                behind = oracle.gradient(point - context.step_size * context.budget.unit(here), sample)
                total += (1 - self.balance) * here + self.balance * behind
            return total / self.samples

        return estimate
