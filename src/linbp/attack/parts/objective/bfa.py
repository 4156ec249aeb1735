"""BFA: against the features that the label's logit rests on where the image is pushed away from its class."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch.nn import functional

from linbp.attack.context import Context
from linbp.attack.image_norms import divided, euclidean
from linbp.attack.parts.objective.base import Features
from linbp.attack.parts.objective.weighted_map import WeightedMap
from linbp.registry import part
from linbp.validation import number

__all__ = ["BFA"]


@part("objective", "bfa")
class BFA(WeightedMap):
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

    radius: float = 28 / math.sqrt(3 * 299 * 299)

    passes: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        number(self, "radius", least=1e-9)

    def gradients(self, context: Context, features: Features) -> Iterator[Mapping[str, torch.Tensor]]:
        """Those of the label's logit at fitted images, each fitted at the one before."""
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
