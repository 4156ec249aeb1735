"""What is increased, one number an image."""

from __future__ import annotations

from typing import Protocol

import torch
from torch.nn import functional

from linbp.attack.goal import Goal
from linbp.parts import part

__all__ = ["CrossEntropy", "Objective"]


class Objective(Protocol):
    """A number for each image, larger where the attack is nearer to its goal."""

    def value(self, logits: torch.Tensor, goal: Goal) -> torch.Tensor:
        """One number an image, shape (N,), of logits (N, classes)."""
        ...


@part("objective", "ce")
class CrossEntropy:
    """Cross-entropy of the label, increased; with targets, cross-entropy of the target, decreased.

        untargeted: -log softmax(z)_label        targeted: +log softmax(z)_target

    Goodfellow, Shlens, Szegedy: Explaining and Harnessing Adversarial Examples, ICLR 2015, arXiv 1412.6572.
    """

    def value(self, logits: torch.Tensor, goal: Goal) -> torch.Tensor:
        """One number an image, in nats."""
        if goal.targets is None:
            return functional.cross_entropy(logits, goal.labels, reduction="none")
        return -functional.cross_entropy(logits, goal.targets, reduction="none")
