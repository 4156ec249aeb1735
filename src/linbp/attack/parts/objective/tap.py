"""TAP: away from the clean image in many feature maps, along smooth changes."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn import functional

from linbp.attack.context import Context
from linbp.attack.parts.objective.base import Features, Measure, Objective, Observation
from linbp.attack.parts.objective.cross_entropy import CrossEntropy
from linbp.attack.parts.objective.feature_maps import Paths, check_paths, listed
from linbp.errors import RecipeError
from linbp.graph import Structure, stage_outputs
from linbp.registry import part, typed_name
from linbp.validation import number

__all__ = ["TAP"]

WINDOW = 3


@part("objective", "tap")
class TAP(Objective):
    """TAP: cross-entropy, the distance of feature maps from the clean image's, and a reward for smooth changes.

        CE + distance sum_l |s(h_l) - s(h0_l)|_2^2 + smoothness |mean_3x3(x - x0)|_1,    s(z) = sign(z) sqrt|z|,

    with h_l a feature map at the image and h0_l at the clean one. The last term is added to what is increased, in the
    paper as in public code: of two changes of the same size, the one that survives averaging over 3 x 3 pixels counts
    more. With targets, the target's cross-entropy is decreased instead. Every term is a sum over one image.

    The derivative of s is infinite at 0, where a ReLU's feature map often is; there 0 is taken, which is what the
    closed ReLU in front of it would pass on, and which keeps 0 times infinity from arising at the clean image.

    Zhou et al.: Transferable Adversarial Perturbations, ECCV 2018. Public code (repository
    CUAI/Intermediate-Level-Attack, and those that copy it) averages over windows side by side instead of everywhere,
    and adds the mean of a batch's cross-entropies to the sum of its distances.

    Args:
        at: paths of the modules whose results are the feature maps; by default the last one of every size that the
            network goes through (in a vision transformer, four of its blocks).
        distance: weight of the feature maps' distance, at least 0.
        smoothness: weight of the smoothed change's size, at least 0.
    """

    at: Paths | None = None
    distance: float = 0.005
    smoothness: float = 0.01

    fewest_steps: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check_paths(self)
        number(self, "distance", least=0.0)
        number(self, "smoothness", least=0.0)
        if not (self.distance or self.smoothness):
            raise RecipeError(
                f"{typed_name(self)} would have no effect: distance and smoothness are 0, which leaves "
                "the cross-entropy.",
                "Use ce, or leave one of them above 0.",
            )

    def feature_maps(self, structure: Structure) -> tuple[str, ...]:
        """The modules of `at`, or the last one of every size."""
        return stage_outputs(structure) if self.at is None else listed(self.at)

    def bind(self, context: Context, features: Features) -> Measure:
        """The measure of one batch, from the feature maps at the clean images."""
        clean = context.budget.clean
        before = {path: _rooted(value) for path, value in features(clean).items()}
        cross_entropy = CrossEntropy().bind(context, features)

        def measure(observation: Observation) -> torch.Tensor:
            smooth = functional.avg_pool2d(observation.images - clean, WINDOW, stride=1, padding=WINDOW // 2)
            total = cross_entropy(observation) + self.smoothness * smooth.abs().flatten(1).sum(1)
            for path, rooted in before.items():
                total = total + self.distance * (_rooted(observation.features[path]) - rooted).square().flatten(1).sum(
                    1
                )
            return total

        return measure


def _rooted(value: torch.Tensor) -> torch.Tensor:
    """sign(z) sqrt|z|, with 0 as its derivative at 0."""
    size = value.abs()
    return value.sign() * torch.where(size > 0, size, 1).sqrt()
