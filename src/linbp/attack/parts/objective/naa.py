"""NAA: against the features that the label's probability is owed to, on the way from black to the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from linbp.attack.context import Context
from linbp.attack.parts.objective.base import Features
from linbp.attack.parts.objective.weighted_map import WeightedMap
from linbp.randomness import Draws
from linbp.registry import part
from linbp.validation import number

__all__ = ["NAA"]


@part("objective", "naa")
class NAA(WeightedMap):
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

    noise: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        number(self, "noise", least=0)

    def gradients(self, context: Context, features: Features) -> Iterator[Mapping[str, torch.Tensor]]:
        """Those of the label's probability at points between the clean image, with noise, and black."""
        clean, labels = context.budget.clean, context.goal.labels[:, None]

        def label_probability(logits: torch.Tensor) -> torch.Tensor:
            return logits.softmax(1).gather(1, labels)[:, 0]

        for step in range(self.samples):
            point = (1 - step / self.samples) * (clean + self._noise(clean, features.draws, step))
            yield features.gradients(point, label_probability)

    def _noise(self, clean: torch.Tensor, draws: Draws, step: int) -> torch.Tensor:
        rows = [torch.from_numpy(draw.standard_normal(clean.shape[1:])) for draw in draws.generators(f"naa {step}")]
        return torch.stack(rows).to(clean) * self.noise
