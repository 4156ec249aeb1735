"""ILA and ILAF: go on in the direction, in a feature map, that another attack found."""

from __future__ import annotations

from typing import ClassVar

import torch

from linbp.attack.context import Context
from linbp.attack.parts.objective.base import Features, Measure, Objective, Observation
from linbp.attack.parts.objective.feature_maps import Paths, as_vector, check_paths, guided_feature_maps, unit_or_zero
from linbp.graph import Structure
from linbp.registry import part
from linbp.validation import number, whole

__all__ = ["ILA", "ILAF"]


@part("objective", "ila")
class ILA(Objective):
    """ILA: the projection of a feature map's change onto the change that the stage before made.

        sum((h - h0) (h1 - h0)),

    with h the feature map at the image, h0 at the clean image and h1 where the stage before ended, not rounded to 8
    bits. The stage begins at the clean image. Written `linbp(start=layer3.1) >> ila(at=layer2.3)`; without a stage
    before it, it is guided by I-FGSM. A targeted attack takes its direction from a targeted guide. Only the direction
    of h1 - h0 matters, not its norm.

    Huang et al.: Enhancing Adversarial Example Transferability with an Intermediate Level Attack, ICCV 2019, arXiv
    1907.10823 (ILAP there; its public code takes one projection of the whole batch, here each image has its own).
    The LinBP paper uses it at `layer2.3` of ResNet-50 and `features.23` of CIFAR-10's VGG-19-BN.

    Args:
        at: path of the module whose result is the feature map (`layer2.3`), or a list of them: then h is all of their
            values as one vector. By default the one of the LinBP paper's code, on VGG-19-BN and ResNet-50.
        steps: of this stage; by default as many as the attack takes.
    """

    at: Paths | None = None
    steps: int | None = None

    needs_guide: ClassVar[bool] = True
    reads_logits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_paths(self)
        if self.steps is not None:
            whole(self, "steps", least=1)

    def feature_maps(self, structure: Structure) -> tuple[str, ...]:
        """The modules of `at`, or the published one."""
        return guided_feature_maps(self.at, structure)

    def bind(self, context: Context, features: Features) -> Measure:
        """The measure of one batch, from the feature maps at the clean images and at the guide's end."""
        clean, guide = _clean_and_guide(context, features)
        return lambda observation: ((as_vector(observation.features) - clean) * guide).sum(1)


@part("objective", "ilaf")
class ILAF(Objective):
    """ILAF: ILA with its two wishes apart: the guide's direction in a feature map, and a large change of it.

        y.x / (|y| |x|) + alpha |y| / |x|,    x = h1 - h0,    y = h - h0,

    with h the feature map at the image, h0 at the clean image and h1 where the stage before ended; Euclidean norms of
    each image. At the clean image, where y is 0 and has no direction, the gradient is that of y.x / |x|, as in the
    authors' code (repository CUAI/Intermediate-Level-Attack). Huang et al., ICCV 2019, arXiv 1907.10823.

    Args:
        at: path of the module whose result is the feature map, or a list of them: then h is all of their values as one
            vector. By default the one of the LinBP paper's code, on VGG-19-BN and ResNet-50.
        alpha: weight of the change's size, at least 0; 0.8 is the authors' code's for I-FGSM as the guide.
        steps: of this stage; by default as many as the attack takes.
    """

    at: Paths | None = None
    alpha: float = 0.8
    steps: int | None = None

    needs_guide: ClassVar[bool] = True
    reads_logits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_paths(self)
        number(self, "alpha", least=0.0)
        if self.steps is not None:
            whole(self, "steps", least=1)

    def feature_maps(self, structure: Structure) -> tuple[str, ...]:
        """The modules of `at`, or the published one."""
        return guided_feature_maps(self.at, structure)

    def bind(self, context: Context, features: Features) -> Measure:
        """The measure of one batch, from the feature maps at the clean images and at the guide's end."""
        clean, guide = _clean_and_guide(context, features)
        direction = unit_or_zero(guide)
        norm = torch.linalg.vector_norm(guide, dim=1)
        scale = self.alpha / torch.where(norm > 0, norm, 1)

        def measure(observation: Observation) -> torch.Tensor:
            change = as_vector(observation.features) - clean
            size = torch.linalg.vector_norm(change, dim=1)
            cosine = (change * direction).sum(1) / torch.where(size > 0, size, 1)
            value: torch.Tensor = cosine + scale * size
            return value

        return measure


def _clean_and_guide(context: Context, features: Features) -> tuple[torch.Tensor, torch.Tensor]:
    """The feature maps at the clean images, and by how much the stage before changed them, both (N, D)."""
    assert context.trace is not None  # a recipe with such an objective has a guide
    clean = as_vector(features(context.budget.clean))
    return clean, as_vector(features(context.trace.images)) - clean
