"""One gradient a step."""

from __future__ import annotations

from linbp.attack.context import Context
from linbp.attack.parts.estimator.base import Estimate, Estimator
from linbp.registry import part

__all__ = ["Plain"]


@part("estimator", "plain")
class Plain(Estimator):
    """The gradient at the image itself: one forward and backward pass a step."""

    def gradients_per_step(self, members: int) -> int:
        """One of every surrogate."""
        return members

    def bind(self, context: Context) -> Estimate:
        """The gradient at the images."""
        return lambda oracle, images: oracle.gradient(images)
