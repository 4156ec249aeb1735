"""Cross-entropy, the objective of most attacks."""

from __future__ import annotations

import torch
from torch.nn import functional

from linbp.attack.context import Context
from linbp.attack.parts.objective.base import Features, Measure, Objective, Observation
from linbp.registry import part

__all__ = ["CrossEntropy"]


@part("objective", "ce")
class CrossEntropy(Objective):
    """Cross-entropy of the label, increased; with targets, cross-entropy of the target, decreased.

        untargeted: -log softmax(z)_label        targeted: +log softmax(z)_target

    In nats. Goodfellow, Shlens, Szegedy: Explaining and Harnessing Adversarial Examples, ICLR 2015, arXiv 1412.6572.
    """

    def bind(self, context: Context, features: Features) -> Measure:
        """The measure of one batch."""
        labels, targets = context.goal.labels, context.goal.targets

        def measure(observation: Observation) -> torch.Tensor:
            if targets is None:
                return functional.cross_entropy(observation.logits, labels, reduction="none")
            return -functional.cross_entropy(observation.logits, targets, reduction="none")

        return measure
