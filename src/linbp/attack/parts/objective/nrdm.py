"""NRDM: away from the clean image in one feature map."""

from __future__ import annotations

from typing import ClassVar

import torch

from linbp.attack.context import Context
from linbp.attack.parts.objective.base import Features, Measure, Objective, Observation
from linbp.attack.parts.objective.feature_maps import Paths, as_vector, check_paths, middle_feature_maps
from linbp.graph import Structure
from linbp.registry import part

__all__ = ["NRDM"]


@part("objective", "nrdm")
class NRDM(Objective):
    """NRDM: the distance of a feature map from the clean image's.

        |h - h0|_2

    with h the feature map at the image and h0 at the clean one. It has no gradient at the clean image itself, where
    nothing would ever move, so it needs a start beside it: `nrdmfgsm` has one. It knows no classes, so it has no
    targeted form. Naseer et al.: Task-generalizable Adversarial Attack based on Perceptual Metric, arXiv 1811.09020
    (neural representation distortion).

    Args:
        at: path of the module whose result is the feature map, or a list of them: then h is all of their values as one
            vector. By default the middle one of the last feature maps of every size: the third block's end in a VGG,
            as in the paper, and `layer2` in a ResNet, as in TA-Bench.
    """

    at: Paths | None = None

    takes_targets: ClassVar[bool] = False
    reads_logits: ClassVar[bool] = False
    needs_start: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_paths(self)

    def feature_maps(self, structure: Structure) -> tuple[str, ...]:
        """The modules of `at`, or the middle one."""
        return middle_feature_maps(self.at, structure)

    def bind(self, context: Context, features: Features) -> Measure:
        """The measure of one batch, from the feature map at the clean images."""
        before = features(context.budget.clean)
        clean = as_vector(before)

        def measure(observation: Observation) -> torch.Tensor:
            distance: torch.Tensor = torch.linalg.vector_norm(as_vector(observation.features) - clean, dim=1)
            return distance

        return measure
