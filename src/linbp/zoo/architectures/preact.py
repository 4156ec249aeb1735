"""Residual networks with activations before the convolutions: pre-activation ResNet and wide ResNets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torchvision.models.resnet import conv1x1, conv3x3  # type: ignore[import-untyped]

from linbp.zoo.architectures.registry import CLASSES, architecture, initialise, scaled

__all__ = ["PreActivationBlock", "PreActivationNet"]


class PreActivationBlock(nn.Module):
    """`x + conv(relu(bn(conv(relu(bn(x))))))`; where the shape changes, the skip is a convolution of `relu(bn(x))`.

    He et al., Identity Mappings in Deep Residual Networks, ECCV 2016, arXiv 1603.05027.
    """

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inside)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = conv3x3(inside, outside, stride)
        self.bn2 = nn.BatchNorm2d(outside)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(outside, outside)
        self.skip = None if inside == outside and stride == 1 else conv1x1(inside, outside, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Feature maps (N, outside, H / stride, W / stride) of feature maps (N, inside, H, W)."""
        active = self.relu1(self.bn1(x))
        skip = x if self.skip is None else self.skip(active)
        out: torch.Tensor = self.conv2(self.relu2(self.bn2(self.conv1(active)))) + skip
        return out


class PreActivationNet(nn.Module):
    """A 3 x 3 convolution, stages of such blocks, a last batch norm and activation, and a linear layer.

    Args:
        depth: number of blocks of each stage.
        channels: of each stage. Every stage but the first halves the size.
        stem: channels of the first convolution.
    """

    def __init__(self, depth: int, channels: Sequence[int], stem: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(3, stem)
        self.stages = [f"layer{number}" for number in range(1, len(channels) + 1)]
        inside = stem
        for name, outside in zip(self.stages, channels, strict=True):
            blocks = []
            for number in range(depth):
                blocks.append(PreActivationBlock(inside, outside, 2 if number == 0 and name != "layer1" else 1))
                inside = outside
            self.add_module(name, nn.Sequential(*blocks))
        self.bn = nn.BatchNorm2d(inside)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inside, CLASSES)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, 10) of images (N, 3, 32, 32)."""
        x = self.conv1(x)
        for name in self.stages:
            x = self.get_submodule(name)(x)
        logits: torch.Tensor = self.fc(self.avgpool(self.relu(self.bn(x))).flatten(1))
        return logits


@architecture("preact_resnet18")
def preact_resnet18(width: float) -> nn.Module:
    """Pre-activation ResNet-18: basic blocks, activations before the convolutions (He et al., 1603.05027)."""
    channels = [scaled(planes, width) for planes in (64, 128, 256, 512)]
    return PreActivationNet(2, channels, channels[0])


def wide_resnet(depth: int, factor: float) -> nn.Module:
    """WRN-depth-factor: three stages of (depth - 4) / 6 blocks, 16, 32 and 64 channels times the factor."""
    return PreActivationNet((depth - 4) // 6, [scaled(planes, factor) for planes in (16, 32, 64)], 16)


@architecture("wrn28_10")
def wrn28_10(width: float) -> nn.Module:
    """Wide ResNet 28-10, without dropout; one of the paper's victims (Zagoruyko, Komodakis, 1605.07146)."""
    return wide_resnet(28, 10 * width)


@architecture("wrn16_8")
def wrn16_8(width: float) -> nn.Module:
    """Wide ResNet 16-8; width 0.25 is WRN-16-2 (Zagoruyko, Komodakis, 1605.07146)."""
    return wide_resnet(16, 8 * width)
