"""CWA: a common weakness of several surrogates, flat and close to each one's own optimum."""

from __future__ import annotations

import torch

from linbp.attack.context import Context
from linbp.attack.gradient_oracle import GradientOracle
from linbp.attack.image_norms import divided, euclidean
from linbp.attack.parts.estimator.base import Estimate, Estimator, refuse_one_member
from linbp.registry import part
from linbp.validation import number

__all__ = ["CommonWeakness"]


@part("estimator", "cwa")
class CommonWeakness(Estimator):
    """Common weakness: a small step back, then one step on each surrogate in turn; where that leads is the gradient.

        y_0 = x - reverse_step eps sign(gradient_ens(x))
        m <- decay m + gradient_k(y_(k-1)) / |gradient_k(y_(k-1))|_2,    y_k = project(y_(k-1) + inner_step m)
        g = y_K - x

    for the surrogates k = 1 .. K in their order; m is kept from step to step. The step back makes the result flat
    (sharpness-aware minimisation), the turns favour directions that the surrogates agree on. In L2 the step back is
    along the gradient's Euclidean unit vector. Norms are each image's own.

    Needs at least two surrogates. Chen et al.: Rethinking Model Ensemble in Transfer-based Adversarial Attacks, ICLR
    2024, arXiv 2303.09105; with momentum it is MI-CWA. Order, signs and values follow the authors' code
    (huanranchen/AdversarialAttacks): the step back is 16/255/15 at eps 16/255 and not clipped, the inner step 250. With
    images of 224 pixels 250 m is, on average, 0.64 in each value, so nearly every value of y is at the border of the
    ball. Unlike there, targeted attacks take the step back too, and the outer momentum's L1 norm is taken image by
    image and not over the batch.

    Args:
        reverse_step: the step back, in multiples of eps, at least 0 (0: none).
        inner_step: the inner step on the scale of [0, 1], for a gradient of Euclidean norm 1, above 0.
        decay: how much of the inner sum is kept from surrogate to surrogate, at least 0.
    """

    reverse_step: float = 1 / 15
    inner_step: float = 250.0
    decay: float = 1.0

    def __post_init__(self) -> None:
        number(self, "reverse_step", least=0.0)
        number(self, "inner_step", least=1e-9)
        number(self, "decay", least=0.0)

    def gradients_per_step(self, members: int) -> int:
        """One of every surrogate for the step back, and one of every surrogate for its turn."""
        return (2 if self.reverse_step else 1) * members

    def check_members(self, members: int) -> None:
        """Refuse a single surrogate."""
        refuse_one_member(self, members)

    def bind(self, context: Context) -> Estimate:
        """The turns of one batch, with an inner sum of zero."""
        return _Turns(self, context)


class _Turns:
    def __init__(self, estimator: CommonWeakness, context: Context) -> None:
        self.estimator, self.context = estimator, context
        self.total = torch.zeros_like(context.budget.clean)

    def __call__(self, oracle: GradientOracle, images: torch.Tensor) -> torch.Tensor:
        budget, inner = self.context.budget, images
        if self.estimator.reverse_step:
            back = budget.direction(oracle.gradient(images))
            inner = images - self.estimator.reverse_step * budget.eps * back
        for index in range(oracle.members):
            found = oracle.member(index, inner, f"turn {index}")
            self.total = self.estimator.decay * self.total + divided(found, euclidean(found))
            inner = budget.project(inner + self.estimator.inner_step * self.total)
        return inner - images
