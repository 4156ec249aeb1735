"""GNP: two gradients, the second one a little uphill, taken away from the first."""

from __future__ import annotations

import torch

from linbp.attack.context import Context
from linbp.attack.gradient_oracle import GradientOracle
from linbp.attack.image_norms import divided, euclidean
from linbp.attack.parts.estimator.base import Estimate, Estimator
from linbp.registry import part
from linbp.validation import number

__all__ = ["NormPenalty"]


@part("estimator", "gnp")
class NormPenalty(Estimator):
    """Gradient norm penalty: to first order, the gradient of the objective minus a multiple of its gradient's norm.

        g = (1 + weight) g1 - weight g2,    g1 = gradient(x),    g2 = gradient(x + radius g1 / |g1|_2)

    that is, of J - weight radius |dJ/dx|_2. Wu, Luo, Wunsch: GNP Attack: Transferable Adversarial Examples via Gradient
    Norm Penalty, ICIP 2023, arXiv 2307.04099: weight 0.8, radius 0.01. Each step takes two gradients, which share the
    draws of random transforms. TransferAttack's code (no code of the authors was found) adds g2 instead of taking it
    away, which rewards the norm, and goes radius g1 / mean |g1| far, hundreds of times as far on photographs.

    Args:
        weight: of the penalty, above 0.
        radius: Euclidean length of the step to the second point, on the scale of [0, 1], above 0.
    """

    weight: float = 0.8
    radius: float = 0.01

    def __post_init__(self) -> None:
        number(self, "weight", least=1e-9)
        number(self, "radius", least=1e-12)

    def gradients_per_step(self, members: int) -> int:
        """Two of every surrogate."""
        return 2 * members

    def bind(self, context: Context) -> Estimate:
        """The first gradient against the second."""

        def estimate(oracle: GradientOracle, images: torch.Tensor) -> torch.Tensor:
            here = oracle.gradient(images)
            uphill = oracle.gradient(images + self.radius * divided(here, euclidean(here)))
            return (1 + self.weight) * here - self.weight * uphill

        return estimate
