"""FIA: against the features that the label's logit rests on, whatever is dropped from the image."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from linbp.attack.context import Context
from linbp.attack.parts.objective.base import Features, Measure, Objective
from linbp.attack.parts.objective.feature_maps import Paths, against, check_paths, middle_feature_maps
from linbp.errors import RecipeError
from linbp.graph import Structure
from linbp.randomness import Draws
from linbp.registry import part, typed_name
from linbp.validation import number, whole

__all__ = ["FIA"]


@part("objective", "fia")
class FIA(Objective):
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

    at: Paths | None = None
    samples: int = 30
    keep: float = 0.7

    takes_targets: ClassVar[bool] = False
    reads_logits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_paths(self)
        whole(self, "samples", least=1)
        number(self, "keep", least=1e-9, most=1)
        if self.keep == 1:
            raise RecipeError(
                f"{typed_name(self)}(keep=1) drops nothing: all its samples are the same.",
                "Give a probability below 1.",
            )

    def feature_maps(self, structure: Structure) -> tuple[str, ...]:
        """The modules of `at`, or the middle one."""
        return middle_feature_maps(self.at, structure)

    def gradients_before(self, members: int) -> int:
        """One for each mask, of every surrogate."""
        return self.samples * members

    def bind(self, context: Context, features: Features) -> Measure:
        """The measure of one batch, from gradients at the masked clean images."""
        clean, labels = context.budget.clean, context.goal.labels[:, None]

        def label_logit(logits: torch.Tensor) -> torch.Tensor:
            return logits.gather(1, labels)[:, 0]

        return against(
            features.gradients(clean * self._mask(clean, features.draws, sample), label_logit)
            for sample in range(self.samples)
        )

    def _mask(self, clean: torch.Tensor, draws: Draws, sample: int) -> torch.Tensor:
        rows = [draw.random(clean.shape[1:]) < self.keep for draw in draws.generators(f"fia {sample}")]
        return torch.from_numpy(np.stack(rows)).to(clean)
