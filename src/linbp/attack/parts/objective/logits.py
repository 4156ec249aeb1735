"""Objectives on the logits that do not fade as the attack succeeds: the logit itself, and calibrated cross-entropy."""

from __future__ import annotations

import torch
from torch.nn import functional

from linbp.attack.context import Context
from linbp.attack.parts.objective.base import Features, Measure, Objective, Observation
from linbp.registry import part

__all__ = ["Logit", "Margin"]


@part("objective", "logit")
class Logit(Objective):
    """The logit alone: the target's is increased, or, without targets, the label's is decreased.

        targeted: z_target        untargeted: -z_label

    Its gradient does not vanish once the target is far ahead, as that of cross-entropy does; that pays with hundreds
    of steps. Zhao, Liu, Larson: On Success and Simplicity: A Second Look at Transferable Targeted Attacks, NeurIPS
    2021, arXiv 2012.11207 (targeted; 300 steps of 2/255).
    """

    def bind(self, context: Context, features: Features) -> Measure:
        """The measure of one batch."""
        labels, targets = context.goal.labels, context.goal.targets

        def measure(observation: Observation) -> torch.Tensor:
            if targets is None:
                return -observation.logits.gather(1, labels[:, None])[:, 0]
            return observation.logits.gather(1, targets[:, None])[:, 0]

        return measure


@part("objective", "margin")
class Margin(Objective):
    """Cross-entropy of logits that are divided by the margin between the two largest, image by image.

        z' = z / (z_(1) - z_(2)),    targeted: +log softmax(z')_target        untargeted: -log softmax(z')_label

    The margin is a number here and has no gradient. It keeps the softmax from saturating, and with it the gradient
    from vanishing. A margin that is no larger than the rounding error of the logits counts as 1.

    Weng et al.: Logit Margin Matters: Improving Transferable Targeted Adversarial Attack by Logit Calibration, IEEE
    TIFS 2023, arXiv 2303.03680 (targeted; the margin-based one of its three calibrations).
    """

    def bind(self, context: Context, features: Features) -> Measure:
        """The measure of one batch."""
        labels, targets = context.goal.labels, context.goal.targets

        def measure(observation: Observation) -> torch.Tensor:
            calibrated = observation.logits / _margin(observation.logits.detach())
            if targets is None:
                return functional.cross_entropy(calibrated, labels, reduction="none")
            return -functional.cross_entropy(calibrated, targets, reduction="none")

        return measure


def _margin(logits: torch.Tensor) -> torch.Tensor:
    """The distance of the two largest logits (N, 1), or 1 where there is none."""
    if logits.shape[1] == 1:
        return torch.ones_like(logits)
    top = logits.topk(2, dim=1).values
    margin = top[:, :1] - top[:, 1:]
    rounding = torch.finfo(logits.dtype).eps * logits.abs().amax(1, keepdim=True)
    return torch.where(margin > rounding, margin, 1)
