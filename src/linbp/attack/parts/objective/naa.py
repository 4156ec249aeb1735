"""NAA: against the features that the label's probability is owed to, on the way from black to the image."""

from __future__ import annotations

from typing import ClassVar

import torch

from linbp.attack.context import Context
from linbp.attack.parts.objective.base import Features, Measure, Objective
from linbp.attack.parts.objective.feature_maps import Paths, against, check_paths, middle_feature_maps
from linbp.graph import Structure
from linbp.randomness import Draws
from linbp.registry import part
from linbp.validation import number, whole

__all__ = ["NAA"]


@part("objective", "naa")
class NAA(Objective):
    """Neuron attribution: a feature map is led against its gradients of the label's probability on the way to black.

        w.h(x),    w = -u(sum_l dp_label/dh at (1 - l/n) (clean + xi_l)),    l = 0 ... n - 1,    u(g) = g / |g|_2

    with h the feature map, p the softmax, n = `samples` and xi ~ N(0, noise^2), drawn for each l and image before the
    first step. The paper weighs positive and negative attributions (h(x) - h(black)) w apart, with 1 and 1: then
    h(black) has no part in the gradient. All gradients are the surrogate's, with its rule. It has no targeted form.
    Zhang et al.: Improving Adversarial Transferability via Neuron Attribution-based Attacks, CVPR 2022, arXiv
    2204.00008: 30 points. It takes `samples` gradients before the first step.

    The authors' noise of 0.2 is on the scale of the network's input, which is [-1, 1] for their Inceptions and [0, 255]
    for their VGG and ResNet; here it is on the scale of [0, 1]. TransferAttack's has no noise, no momentum, and points
    l/n, with black and without the image itself; TA-Bench takes the cross-entropy.

    Args:
        at: path of the module whose result is the feature map, or a list of them: then h is all of their values as one
            vector. By default the middle one of the last feature maps of every size (`layer2` in a ResNet).
        samples: how many points on the way, at least 1.
        noise: standard deviation on the scale of [0, 1], at least 0; 0.1 is 0.2 on [-1, 1].
    """

    at: Paths | None = None
    samples: int = 30
    noise: float = 0.1

    takes_targets: ClassVar[bool] = False
    reads_logits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_paths(self)
        whole(self, "samples", least=1)
        number(self, "noise", least=0)

    def feature_maps(self, structure: Structure) -> tuple[str, ...]:
        """The modules of `at`, or the middle one."""
        return middle_feature_maps(self.at, structure)

    def gradients_before(self, members: int) -> int:
        """One for each point, of every surrogate."""
        return self.samples * members

    def bind(self, context: Context, features: Features) -> Measure:
        """The measure of one batch, from gradients between the clean images and black."""
        clean, labels = context.budget.clean, context.goal.labels[:, None]

        def label_probability(logits: torch.Tensor) -> torch.Tensor:
            return logits.softmax(1).gather(1, labels)[:, 0]

        return against(
            features.gradients(
                (1 - step / self.samples) * (clean + self._noise(clean, features.draws, step)), label_probability
            )
            for step in range(self.samples)
        )

    def _noise(self, clean: torch.Tensor, draws: Draws, step: int) -> torch.Tensor:
        rows = [torch.from_numpy(draw.standard_normal(clean.shape[1:])) for draw in draws.generators(f"naa {step}")]
        return torch.stack(rows).to(clean) * self.noise
