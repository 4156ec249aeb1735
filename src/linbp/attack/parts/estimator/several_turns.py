"""Several turns in one step: the mean gradient over versions of the surrogate's weights."""

from __future__ import annotations

import torch

from linbp.attack.context import Context
from linbp.attack.gradient_oracle import GradientOracle
from linbp.attack.parts.estimator.base import Estimate, Estimator
from linbp.errors import RecipeError
from linbp.registry import part
from linbp.validation import whole

__all__ = ["SeveralTurns"]


@part("estimator", "turns")
class SeveralTurns(Estimator):
    """The mean gradient over several versions of the weights in each step, of a surrogate whose weights take turns.

        g = mean_i gradient(x; weights of turn count x step + i),    i = 0 ... count - 1

    Such surrogates are what `linbp refine` makes. Li, Guo, Zuo, Chen: Making Substitute Models More Bayesian Can
    Enhance Transferability of Adversarial Examples, ICLR 2023, arXiv 2302.05086, take 20 draws in each step. Each step
    takes `count` gradients, and each gradient of random transforms draws its own. A surrogate whose weights take no
    turns is refused.

    Args:
        count: how many versions a step takes, at least 2.
    """

    count: int = 20

    def __post_init__(self) -> None:
        whole(self, "count", least=2)

    def gradients_per_step(self, members: int) -> int:
        """One of each version of every surrogate."""
        return self.count * members

    def check_turns(self, turns: int) -> None:
        """Refuse surrogates whose weights take no turns."""
        if turns < 2:
            raise RecipeError(
                "turns takes several versions of the surrogate's weights, and there is only one.",
                "Make more of them (linbp refine lgv, linbp refine mba), or leave turns out.",
            )

    def bind(self, context: Context) -> Estimate:
        """The mean over this step's turns."""

        def estimate(oracle: GradientOracle, images: torch.Tensor) -> torch.Tensor:
            total = torch.zeros_like(images)
            for turn in range(self.count):
                oracle.take_turn(oracle.step * self.count + turn)
                total = total + oracle.gradient(images, f"turn {turn}" if turn else "")
            return total / self.count

        return estimate
