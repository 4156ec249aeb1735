"""FIA: against the features that the label's logit rests on, whatever is dropped from the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from linbp.attack.context import Context
from linbp.attack.parts.objective.base import Features
from linbp.attack.parts.objective.weighted_map import WeightedMap
from linbp.errors import RecipeError
from linbp.randomness import Draws
from linbp.registry import part, typed_name
from linbp.validation import number

__all__ = ["FIA"]


@part("objective", "fia")
class FIA(WeightedMap):
    """Feature importance: a feature map is led against the mean gradient of the label's logit with respect to it.

        w.h(x),    w = -u(sum_k dz_label/dh at M_k clean),    u(g) = g / |g|_2

    with h the feature map. M_k keeps each value of each channel with probability `keep` and makes the others black; it
    is drawn for each image before the first step, and w stays. All gradients are the surrogate's, with its rule. It
    has no targeted form. Wang et al.: Feature Importance-aware Transferable Adversarial Attacks, ICCV 2021, arXiv
    2107.14185: 30 masks, keep 0.7 (0.9 by default in their code). It takes `samples` gradients before the first step.

    Public codes differ: TransferAttack takes the softmax probability instead of the logit, TA-Bench the cross-entropy,
    and BlackboxBench drops values to the mean colour; TransferAttack's has no momentum.

    Args:
        at: path of the module whose result is the feature map, or a list of them: then h is all of their values as one
            vector. By default the middle one of the last feature maps of every size: the third block's end in a VGG
            and `layer2` in a ResNet, as there.
        samples: how many masks, at least 1.
        keep: probability of keeping a value, above 0 and below 1.
    """

    keep: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        number(self, "keep", least=1e-9, most=1)
        if self.keep == 1:
            raise RecipeError(
                f"{typed_name(self)}(keep=1) drops nothing: all its samples are the same.",
                "Give a probability below 1.",
            )

    def gradients(self, context: Context, features: Features) -> Iterator[Mapping[str, torch.Tensor]]:
        """Those of the label's logit at masked clean images."""
        clean, labels = context.budget.clean, context.goal.labels[:, None]

        def label_logit(logits: torch.Tensor) -> torch.Tensor:
            return logits.gather(1, labels)[:, 0]

        for sample in range(self.samples):
            yield features.gradients(clean * self._mask(clean, features.draws, sample), label_logit)

    def _mask(self, clean: torch.Tensor, draws: Draws, sample: int) -> torch.Tensor:
        rows = [draw.random(clean.shape[1:]) < self.keep for draw in draws.generators(f"fia {sample}")]
        return torch.from_numpy(np.stack(rows)).to(clean)
