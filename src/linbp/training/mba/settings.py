"""How the run goes whose weights the distribution is of, and how the distribution is drawn from."""

from __future__ import annotations

import dataclasses

from linbp.training.fine_tuning.gradient_penalty import GradientPenalty
from linbp.training.lgv.settings import HighRate
from linbp.validation import check_range

__all__ = ["Bayesian"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bayesian(HighRate):
    """Settings of the run, as in `HighRate`, and of the distribution.

    Args:
        snapshots: how often in each epoch the weights are counted, at equal distances.
        penalty: weight of the penalty on the gradient's length; 0: none, at half the time.
        radius: how far uphill the second pass of a step is.
        scale: what standard deviations are multiplied with when weights are drawn, at least 0.
        samples: how many draws take turns in an attack, at least 2.

    Raises:
        RecipeError: a value that is out of range.
    """

    snapshots: int = 30
    batch_size: int = 1024
    weight_decay: float = 5e-4
    penalty: float = 1.0
    radius: float = 0.1
    scale: float = 1.5
    samples: int = 40

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gradient_penalty()
        check_range("scale", self.scale, least=0)
        check_range("samples", self.samples, least=2, whole=True)

    def gradient_penalty(self) -> GradientPenalty:
        """The penalty of each step."""
        return GradientPenalty(weight=self.penalty, radius=self.radius)
