"""BFA: against the features that the label's logit rests on where the image is pushed away from its class."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch.nn import functional

from linbp.attack.context import Context
from linbp.attack.image_norms import divided, euclidean
from linbp.attack.parts.objective.base import Features, Measure, Objective
from linbp.attack.parts.objective.feature_maps import Paths, against, check_paths, middle_feature_maps
from linbp.graph import Structure
from linbp.registry import part
from linbp.validation import number, whole

__all__ = ["BFA"]


@part("objective", "bfa")
class BFA(Objective):
    """Black-box features: a feature map is led against gradients of the label's logit at images fitted to mislead.

        w.h(x),    w = -u(sum_k dz_label/dh at p_k),    p_k = clean + radius sqrt(d) u(gradient of CE at p_(k-1))

    with h the feature map, p_0 = clean, k = 1 ... `samples`, d the number of values of an image, and u(g) = g / |g|_2.
    Every p_k lies at the same distance from the clean image and is not clipped. All gradients are the surrogate's, with
    its rule. It has no targeted form. Wang, Wang, Ma, Luo: Improving Transferability of Adversarial Attacks via
    Black-box Feature Attack (BFA), Neurocomputing 2024: 30 images at a Euclidean distance of 28 at 299 pixels, which is
    0.054 a value (RMS). It takes 2 x `samples` gradients before the first step.

    The authors' code takes the gradient of CE, momentum and steps with respect to the normalised image, so that colours
    are weighed by their standard deviations; here, as in TransferAttack, everything is on the scale of [0, 1]. Each
    image is fitted at the one before, so that in float32 last digits can change the weights by a tenth.

    Args:
        at: path of the module whose result is the feature map, or a list of them: then h is all of their values as one
            vector. By default the middle one of the last feature maps of every size: `features.15` in VGG-16 and
            `layer2` in a ResNet, as there.
        samples: how many fitted images, at least 1.
        radius: their root mean square distance from the clean image on the scale of [0, 1], above 0.
    """

    at: Paths | None = None
    samples: int = 30
    radius: float = 28 / math.sqrt(3 * 299 * 299)

    takes_targets: ClassVar[bool] = False
    reads_logits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_paths(self)
        whole(self, "samples", least=1)
        number(self, "radius", least=1e-9)

    def feature_maps(self, structure: Structure) -> tuple[str, ...]:
        """The modules of `at`, or the middle one."""
        return middle_feature_maps(self.at, structure)

    def gradients_before(self, members: int) -> int:
        """Two for each fitted image, of every surrogate."""
        return 2 * self.samples * members

    def bind(self, context: Context, features: Features) -> Measure:
        """The measure of one batch, from gradients at fitted images."""
        return against(self._at_fitted(context, features))

    def _at_fitted(self, context: Context, features: Features) -> Iterator[Mapping[str, torch.Tensor]]:
        clean, labels = context.budget.clean, context.goal.labels
        length = self.radius * math.sqrt(clean[0].numel())

        def cross_entropy(logits: torch.Tensor) -> torch.Tensor:
            return functional.cross_entropy(logits, labels, reduction="none")

        def label_logit(logits: torch.Tensor) -> torch.Tensor:
            return logits.gather(1, labels[:, None])[:, 0]

        fitted = clean
        for _ in range(self.samples):
            away = features.image_gradients(fitted, cross_entropy)
            fitted = clean + length * divided(away, euclidean(away))
            yield features.gradients(fitted, label_logit)
