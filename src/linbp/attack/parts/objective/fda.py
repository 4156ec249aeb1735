"""FDA: raise what is small in feature maps and lower what is large."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from linbp.attack.context import Context
from linbp.attack.parts.objective.base import Features, Measure, Objective, Observation
from linbp.attack.parts.objective.feature_maps import Paths, check_paths, listed
from linbp.graph import Structure, spatial_size, stage_outputs
from linbp.registry import part
from linbp.validation import one_of

__all__ = ["FDA", "Channels"]

Channels = Literal["first", "last"]
IMAGE_RANK = 4


@part("objective", "fda")
class FDA(Objective):
    """FDA: feature maps are turned over: weak activations become strong, and strong ones weak.

        sum_l log |h_l[h0_l < c_l]|_2 - log |h_l[h0_l >= c_l]|_2,    c_l = mean of h0_l over the channels at each place,

    with h_l a feature map at the image and h0_l at the clean one. A norm of 0 counts as the smallest number there is,
    without a gradient. It knows no classes, so it has no targeted form. Ganeshan, Vivek, Babu: FDA: Feature Disruptive
    Attack, ICCV 2019, arXiv 1909.04385. The authors' code (repository BardOfCodes/fda) starts at a random point of the
    ball and takes every block's feature map and the last pooled one; TA-Bench starts at the clean image and takes the
    ends of the stages, which are the default here too.

    Args:
        at: paths of the modules whose results are the feature maps; by default the last one of every size that the
            network goes through (in a vision transformer, four of its blocks).
        channels: `first` or `last`: where the feature maps have their channels. By default last in those of two or
            three axes (a vision transformer's), and in those of four axes that are square in their first two only (a
            Swin transformer's); first in all others.
    """

    at: Paths | None = None
    channels: Channels | None = None

    takes_targets: ClassVar[bool] = False
    reads_logits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_paths(self)
        one_of(self, "channels", ("first", "last", None))

    def feature_maps(self, structure: Structure) -> tuple[str, ...]:
        """The modules of `at`, or the last one of every size."""
        return stage_outputs(structure) if self.at is None else listed(self.at)

    def bind(self, context: Context, features: Features) -> Measure:
        """The measure of one batch, from the feature maps at the clean images."""
        weak: dict[str, torch.Tensor] = {}
        for path, value in features(context.budget.clean).items():
            weak[path] = value < value.mean(self._axis(value), keepdim=True)

        def measure(observation: Observation) -> torch.Tensor:
            total = observation.images.new_zeros(len(observation.images))
            for path, mask in weak.items():
                value = observation.features[path]
                total = total + _log_norm(torch.where(mask, value, 0)) - _log_norm(torch.where(mask, 0, value))
            return total

        return measure

    def _axis(self, value: torch.Tensor) -> int:
        if self.channels is not None:
            return 1 if self.channels == "first" else -1
        if value.ndim != IMAGE_RANK:
            return -1
        shape = value.shape[1:]
        return 1 if spatial_size(shape) == tuple(shape[1:]) else -1


def _log_norm(value: torch.Tensor) -> torch.Tensor:
    """The logarithm of each image's Euclidean norm; below the smallest number, that number's, without a gradient."""
    norm: torch.Tensor = torch.linalg.vector_norm(value.flatten(1), dim=1)
    return norm.clamp(min=torch.finfo(norm.dtype).tiny).log()
