"""SqueezeNet 1.1, layer by layer as torchvision has it; importing torchvision takes seconds."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["CaffeSqueezeNet", "SqueezeNet"]

FIRES = (
    *((64, 16, 64), (128, 16, 64), (128, 32, 128), (256, 32, 128)),
    *((256, 48, 192), (384, 48, 192), (384, 64, 256), (512, 64, 256)),
)
"""Channels of each Fire: in, squeezed, and of each of the two halves that it puts out."""
POOLED = (2, 4)
"""Behind how many Fires there is another max-pool."""


class Fire(nn.Module):
    """Fewer channels by 1 x 1, then more again by 1 x 1 and by 3 x 3, side by side."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Feature maps (N, 2 * expanded, H, W)."""
        x = self.squeeze_activation(self.squeeze(x))
        pointwise = self.expand1x1_activation(self.expand1x1(x))
        return torch.cat([pointwise, self.expand3x3_activation(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1 for the 1,000 classes of ImageNet.

    Iandola et al.: SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size, 2016, arXiv
    1602.07360; the names of layers and weights are those of `torchvision.models.squeezenet1_1`.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(inplace=True), _pool()]
        for number, channels in enumerate(FIRES):
            layers += [_pool(), Fire(*channels)] if number in POOLED else [Fire(*channels)]
        self.features = nn.Sequential(*layers)
        ends = (nn.Dropout(0.5), nn.Conv2d(512, 1000, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1)))
        self.classifier = nn.Sequential(*ends)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, 1000) of normalised images (N, 3, H, W)."""
        return torch.flatten(self.classifier(self.features(x)), 1)


class CaffeSqueezeNet(SqueezeNet):
    """SqueezeNet 1.1 as trained in Caffe, with channels in the order BGR; `forward` takes RGB and swaps them.

    The scale of Caffe's input, 255 x minus (104, 117, 123) in the order BGR, is in the Model's mean and std.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, 1000) of normalised RGB images (N, 3, H, W)."""
        return super().forward(x.flip(1))


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)
