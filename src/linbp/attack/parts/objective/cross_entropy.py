"""Cross-entropy, the objective of most attacks."""

from __future__ import annotations

import torch
from torch.nn import functional

from linbp.attack.context import Scene
from linbp.attack.parts.objective.base import Features, Measure, Objective, Seen
from linbp.registry import part

__all__ = ["CrossEntropy"]


@part("objective", "ce")
class CrossEntropy(Objective):
    """Cross-entropy of the label, increased; with targets, cross-entropy of the target, decreased.

        untargeted: -log softmax(z)_label        targeted: +log softmax(z)_target

    In nats. Goodfellow, Shlens, Szegedy: Explaining and Harnessing Adversarial Examples, ICLR 2015, arXiv 1412.6572.
    """

    def begin(self, scene: Scene, features: Features) -> Measure:
        """The measure of one batch."""
        labels, targets = scene.goal.labels, scene.goal.targets

        def measure(seen: Seen) -> torch.Tensor:
            if targets is None:
                return functional.cross_entropy(seen.logits, labels, reduction="none")
            return -functional.cross_entropy(seen.logits, targets, reduction="none")

        return measure
