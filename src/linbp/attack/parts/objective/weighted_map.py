"""What objectives share that weigh a feature map by gradients taken before the first step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from linbp.attack.context import Context
from linbp.attack.image_norms import divided, euclidean
from linbp.attack.parts.objective.base import Features, Measure, Objective
from linbp.attack.parts.objective.feature_maps import Paths, as_vector, check_paths, middle_feature_maps
from linbp.graph import Structure
from linbp.validation import whole

__all__ = ["WeightedMap"]


@dataclass(frozen=True, kw_only=True)
class WeightedMap(Objective):
    """The measure w.h(x), w = -u(sum of gradients with respect to the feature map h), u(g) = g / |g|_2 for each image.

    Args:
        at: path of the module whose result is h, or a list of them; by default the middle one.
        samples: how many gradients are summed, at least 1.
    """

    at: Paths | None = None
    samples: int = 30

    takes_targets: ClassVar[bool] = False
    reads_logits: ClassVar[bool] = False
    passes: ClassVar[int] = 1
    """Gradients that one of the sum takes."""

    def __post_init__(self) -> None:
        check_paths(self)
        whole(self, "samples", least=1)

    def feature_maps(self, structure: Structure) -> tuple[str, ...]:
        """The modules of `at`, or the middle one of the last feature maps of every size."""
        return middle_feature_maps(self.at, structure)

    def gradients_before(self, members: int) -> int:
        """Those of the sum, of every surrogate."""
        return self.passes * self.samples * members

    @abstractmethod
    def gradients(self, context: Context, features: Features) -> Iterable[Mapping[str, torch.Tensor]]:
        """The gradients of one batch that are summed."""

    def bind(self, context: Context, features: Features) -> Measure:
        """The measure of one batch."""
        rows = iter(self.gradients(context, features))
        total = as_vector(next(rows))
        for more in rows:
            total = total + as_vector(more)
        weights = -divided(total[..., None, None], euclidean(total[..., None, None]))[..., 0, 0]
        return lambda observation: (as_vector(observation.features) * weights).sum(1)
