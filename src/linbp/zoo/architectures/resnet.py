"""Residual networks with activations after the sum: ResNet and ResNeXt, in the forms for images of 32 x 32 pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, conv1x1, conv3x3  # type: ignore[import-untyped]

from linbp.zoo.architectures.registry import CLASSES, architecture, initialise, scaled

__all__ = ["ResNet"]


class ResNet(nn.Module):
    """torchvision's blocks behind a 3 x 3 convolution; no max-pool. Module paths are those of torchvision's ResNet.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        depths: number of blocks of each stage.
        channels: of each stage, before a bottleneck multiplies them by four. Every stage but the first halves the size.
        stem: channels of the first convolution.
        groups: of the bottlenecks' 3 x 3 convolution, each of which has as many channels as `channels` says.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        channels: Sequence[int],
        stem: int,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(3, stem)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.stages = [f"layer{number}" for number in range(1, len(depths) + 1)]
        inside = stem
        for name, depth, planes in zip(self.stages, depths, channels, strict=True):
            blocks, outside = [], planes * block.expansion
            for number in range(depth):
                stride = 2 if number == 0 and name != "layer1" else 1
                skip = None
                if stride != 1 or inside != outside:
                    skip = nn.Sequential(conv1x1(inside, outside, stride), nn.BatchNorm2d(outside))
                blocks.append(block(inside, planes, stride, skip, groups))
                inside = outside
            self.add_module(name, nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inside, CLASSES)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, 10) of images (N, 3, 32, 32)."""
        x = self.relu(self.bn1(self.conv1(x)))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        logits: torch.Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


@architecture("resnet18")
def resnet18(width: float) -> nn.Module:
    """ResNet-18: basic blocks, activations after the sum (He et al., 1512.03385)."""
    channels = [scaled(planes, width) for planes in (64, 128, 256, 512)]
    return ResNet(BasicBlock, (2, 2, 2, 2), channels, channels[0])


@architecture("resnet50")
def resnet50(width: float) -> nn.Module:
    """ResNet-50: bottleneck blocks, activations after the sum (He et al., 1512.03385)."""
    channels = [scaled(planes, width) for planes in (64, 128, 256, 512)]
    return ResNet(Bottleneck, (3, 4, 6, 3), channels, channels[0])


@architecture("resnext29_8x64d")
def resnext29_8x64d(width: float) -> nn.Module:
    """ResNeXt-29 8x64d: bottleneck blocks with eight groups; one of the paper's victims (Xie et al., 1611.05431)."""
    channels = [scaled(planes, width) for planes in (64, 128, 256)]
    return ResNet(Bottleneck, (3, 3, 3), channels, channels[0], groups=8)
