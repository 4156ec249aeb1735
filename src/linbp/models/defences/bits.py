"""Fewer bits a channel."""

from __future__ import annotations

import torch

from linbp.models.defences.base import Defence, Ids
from linbp.registry import part
from linbp.validation import number, whole

__all__ = ["Bits"]


@part("defence", "bits")
class Bits(Defence):
    """Bit depth: each channel of each pixel is rounded to one of 2^b values.

        x' = round(x (2^b - 1)) / (2^b - 1), halves to the even number

    Xu, Evans, Qi: Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks, NDSS 2018, arXiv
    1704.01155 (5 bits for ImageNet). It is no posterisation, which cuts bits off and makes images darker.

    Args:
        depth: b, bits a channel, from 1 to 8.
    """

    depth: int = 5

    def __post_init__(self) -> None:
        whole(self, "depth", least=1)
        number(self, "depth", least=1, most=8)

    def apply(self, images: torch.Tensor, ids: Ids) -> torch.Tensor:
        """The rounded images."""
        steps: int = 2**self.depth - 1
        return torch.round(images * steps) / steps
