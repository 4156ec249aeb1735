"""RAP: the gradient where a nearby perturbation hurts the attack most."""

from __future__ import annotations

import torch

from linbp.attack.context import Context
from linbp.attack.gradient_oracle import GradientOracle
from linbp.attack.parts.estimator.base import Estimate, Estimator
from linbp.registry import part
from linbp.validation import number, whole

__all__ = ["ReversePerturbation"]


@part("estimator", "rap")
class ReversePerturbation(Estimator):
    """Reverse adversarial perturbation: the gradient at the worst point around the image, which an inner attack finds.

        g = gradient(x + n),    n <- within(n - radius/steps eps sign(gradient(x + n))),  `steps` times

    from a start drawn from the ball of radius eps, anew at every step of the attack; n stays in that ball and x + n in
    [0, 1]. In L2 unit vectors take the place of signs. In the first `late` share of the attack's steps n is 0. Qin et
    al.: Boosting the Transferability of Adversarial Attacks with Reverse Adversarial Perturbation, NeurIPS 2022, arXiv
    2210.05968: radius 1, 8 steps, 400 steps of 2/255 at eps 16/255, late start after 100 (RAP-LS; `late=0` is RAP).
    Each step takes 1 + steps gradients, 1 before the late start.

    The inner gradients are the attack's own, with its objective and other draws of its transforms, as in
    TransferAttack; in the authors' code they are of the cross-entropy without transforms, whatever the outer ones are.

    Args:
        steps: of the inner attack, at least 1.
        radius: of the ball that n stays in, in multiples of eps, above 0.
        late: share of the attack's steps without n, at least 0 and below 1.
    """

    steps: int = 8
    radius: float = 1.0
    late: float = 0.25

    def __post_init__(self) -> None:
        whole(self, "steps", least=1)
        number(self, "radius", least=1e-9)
        number(self, "late", least=0, most=1 - 1e-9)

    def gradients_per_step(self, members: int) -> int:
        """One, and one for each inner step, of every surrogate, after the late start."""
        return members * (1 + self.steps)

    def gradients(self, steps: int, members: int) -> int:
        """As in `gradients_per_step` for each step after the late start, and one before."""
        return members * (steps + self.steps * (steps - self._first(steps)))

    def _first(self, steps: int) -> int:
        """The first step with n."""
        return int(self.late * steps)

    def bind(self, context: Context) -> Estimate:
        """The gradient at the worst point."""
        budget, size = context.budget, context.budget.eps * (self.radius / self.steps)

        def within(images: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
            return (images + budget.shortened(change, self.radius)).clamp(0, 1) - images

        def estimate(oracle: GradientOracle, images: torch.Tensor) -> torch.Tensor:
            if oracle.step < self._first(context.steps):
                return oracle.gradient(images)
            change = within(images, budget.sample(oracle.draws, "rap", self.radius))
            for turn in range(self.steps):
                found = oracle.gradient(images + change, f"inner {turn}")
                change = within(images, change - size * budget.direction(found))
            return oracle.gradient(images + change)

        return estimate
