"""GRA: the gradient and its neighbours' mean, weighed by how much they agree."""

from __future__ import annotations

import torch

from linbp.attack.context import Context
from linbp.attack.gradient_oracle import GradientOracle
from linbp.attack.image_norms import divided, euclidean
from linbp.attack.parts.estimator.base import Estimate, Estimator
from linbp.registry import part
from linbp.validation import number, whole

__all__ = ["GradientRelevance"]


@part("estimator", "gra")
class GradientRelevance(Estimator):
    """Gradient relevance: the gradient and the mean one of its neighbourhood, the more of the first the more alike.

        g = s g0 + (1 - s) b,    b = mean_i gradient(x + r_i),    r_i ~ U(-radius eps, radius eps),    s = cos(g0, b)

    with g0 = gradient(x); one cosine an image, 0 where one of the two is zero; it may be negative. Neighbours are not
    clipped, and in L2 uniform in the ball. Zhu, Ren, Sui, Yang, Jiang: Boosting Adversarial Transferability via
    Gradient Relevance Attack, ICCV 2023: 20 neighbours, radius 3.5, and the update `damped-mi` (`gra-mifgsm`), which
    can be tried apart. Each step takes 1 + neighbours gradients. The authors' and TransferAttack's code agree.

    Args:
        neighbours: how many points around the image, at least 1.
        radius: of the neighbourhood, in multiples of eps, above 0.
    """

    neighbours: int = 20
    radius: float = 3.5

    def __post_init__(self) -> None:
        whole(self, "neighbours", least=1)
        number(self, "radius", least=1e-9)

    def gradients_per_step(self, members: int) -> int:
        """One, and one for each neighbour, of every surrogate."""
        return members * (1 + self.neighbours)

    def bind(self, context: Context) -> Estimate:
        """The weighed gradient."""

        def estimate(oracle: GradientOracle, images: torch.Tensor) -> torch.Tensor:
            here = oracle.gradient(images)
            around = torch.zeros_like(here)
            for index in range(self.neighbours):
                sample = f"neighbour {index}"
                change = context.budget.sample(oracle.draws.under(sample), "gra", self.radius)
                around += oracle.gradient(images + change, sample) / self.neighbours
            share = _cosine(here, around)
            return share * here + (1 - share) * around

        return estimate


def _cosine(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Of each image (N, C, H, W), shape (N, 1, 1, 1)."""
    one, other = divided(first, euclidean(first)), divided(second, euclidean(second))
    return (one * other).sum(dim=(1, 2, 3), keepdim=True)
