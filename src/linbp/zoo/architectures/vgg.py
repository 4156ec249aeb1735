"""VGG, the source of the paper's CIFAR-10 experiment."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models.vgg import cfgs, make_layers  # type: ignore[import-untyped]

from linbp.zoo.architectures.registry import CLASSES, architecture, initialise, scaled

__all__ = ["Vgg"]


class Vgg(nn.Module):
    """Convolutions of torchvision's VGG (`features.N`), then one linear layer, as on images of 32 x 32 pixels.

    Args:
        layers: channels of each convolution, `M` for a max-pool.
    """

    def __init__(self, layers: list[str | int]) -> None:
        super().__init__()
        self.features = make_layers(layers, batch_norm=True)
        self.classifier = nn.Linear(int(layers[-2]), CLASSES)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, 10) of images (N, 3, 32, 32)."""
        logits: torch.Tensor = self.classifier(self.features(x).flatten(1))
        return logits


@architecture("vgg19_bn")
def vgg19_bn(width: float) -> nn.Module:
    """VGG-19 with batch norm, one linear layer; the paper's source (Simonyan, Zisserman, 1409.1556)."""
    return Vgg([layer if isinstance(layer, str) else scaled(layer, width) for layer in cfgs["E"]])
