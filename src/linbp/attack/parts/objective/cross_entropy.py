"""Cross-entropy, the objective of most attacks."""

from __future__ import annotations

import torch
from torch.nn import functional

from linbp.attack.context import Context
from linbp.attack.parts.objective.base import Features, Measure, Objective, Observation
from linbp.registry import part
from linbp.validation import number

__all__ = ["CrossEntropy"]


@part("objective", "ce")
class CrossEntropy(Objective):
    """Cross-entropy of the label, increased; with targets, cross-entropy of the target, decreased.

        untargeted: -log softmax(z)_label + reward |d|_2        targeted: +log softmax(z)_target + reward |d|_2

    In nats, with d the change of the image, on the scale of [0, 1]; its gradient is 0 where nothing is changed.
    Goodfellow, Shlens, Szegedy: Explaining and Harnessing Adversarial Examples, ICLR 2015, arXiv 1412.6572; the reward
    is of Wei et al., AAAI 2022, arXiv 2109.04176 (`pna-patchout`, 0.1), whose code takes the norm over the whole batch.

    Args:
        reward: of a longer change, at least 0.
    """

    reward: float = 0.0

    def __post_init__(self) -> None:
        number(self, "reward", least=0)

    def bind(self, context: Context, features: Features) -> Measure:
        """The measure of one batch."""
        labels, targets = context.goal.labels, context.goal.targets

        def measure(observation: Observation) -> torch.Tensor:
            sign, classes = (1, labels) if targets is None else (-1, targets)
            found = sign * functional.cross_entropy(observation.logits, classes, reduction="none")
            if not self.reward:
                return found
            change = observation.images - context.budget.clean
            rewarded: torch.Tensor = found + self.reward * torch.linalg.vector_norm(change, dim=(1, 2, 3))
            return rewarded

        return measure
