"""MEF: points around the image that remember their last gradients."""

from __future__ import annotations

import torch

from linbp.attack.context import Context
from linbp.attack.gradient_oracle import GradientOracle
from linbp.attack.parts.estimator.base import Estimate, Estimator
from linbp.registry import part
from linbp.validation import number, whole

__all__ = ["ExpectedFlatness"]


@part("estimator", "mef")
class ExpectedFlatness(Estimator):
    """Maximin expected flatness: the mean gradient at random points, each moved along what it saw last.

        g = mean_k g_k,    g_k = gradient(x + r_k + inner eps P_k),    r_k ~ U(-radius eps, radius eps)
        P_k <- n(g_k) - decay P_k,    P_k = 0 in the first step,    n(g) = g / mean |g|

    In L2 n divides by the Euclidean norm, and r_k is uniform in the ball. Moving along the last gradient stands for the
    descent of the next one ("previous gradient inversion"). Nothing is clipped. Qiu et al., arXiv 2405.16181: 20
    points, radius 2, inner 0.15, decay 0.9, with momentum 0.5 (`mef-mifgsm`) and 20 steps of eps/10, which is twice the
    usual way. Each step takes `samples` gradients, and as many images are kept for each image. The authors' and
    TransferAttack's code agree.

    Args:
        samples: how many points, at least 1.
        radius: of the neighbourhood, in multiples of eps, above 0.
        inner: how far a point moves along its memory, in multiples of eps, at least 0.
        decay: how much of the memory is taken back in each step, at least 0.
    """

    samples: int = 20
    radius: float = 2.0
    inner: float = 0.15
    decay: float = 0.9

    def __post_init__(self) -> None:
        whole(self, "samples", least=1)
        number(self, "radius", least=1e-9)
        number(self, "inner", least=0)
        number(self, "decay", least=0)

    def gradients_per_step(self, members: int) -> int:
        """One for each point, of every surrogate."""
        return self.samples * members

    def bind(self, context: Context) -> Estimate:
        """The mean gradient, with memories of zero."""
        budget, memory = context.budget, [torch.zeros_like(context.budget.clean) for _ in range(self.samples)]

        def estimate(oracle: GradientOracle, images: torch.Tensor) -> torch.Tensor:
            total = torch.zeros_like(images)
            for index in range(self.samples):
                sample = f"point {index}"
                change = budget.sample(oracle.draws.under(sample), "mef", self.radius)
                found = oracle.gradient(images + change + self.inner * budget.eps * memory[index], sample)
                memory[index] = budget.unit(found) - self.decay * memory[index]
                total += found
            return total / self.samples

        return estimate
