"""What is an attention, and what only looks like one."""

from __future__ import annotations

import torch
from torch import nn

from linbp import Model, Surrogate


class AcrossImages(nn.Module):
    """The softmax of products of images with each other, as timm's CSATv2 computes it: keys are images, not tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(3 * 4 * 4, 6), nn.Linear(6, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = self.layer(images.flatten(1))
        across = (value @ value.sin().transpose(-1, -2)).softmax(-1) @ value
        logits: torch.Tensor = self.head(value + 1e-14 * across)
        return logits


def test_a_softmax_over_the_images_of_a_batch_is_no_attention() -> None:
    torch.manual_seed(0)
    surrogate = Surrogate(Model(AcrossImages().double().eval(), input_size=(3, 4, 4)), cache=False)
    assert surrogate.attentions == ()
    assert len(surrogate.structure.softmaxes) == 1
