"""PyramidNet: residual networks whose channels grow with every block."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional
from torchvision.models.resnet import conv1x1, conv3x3  # type: ignore[import-untyped]

from linbp.zoo.architectures.registry import CLASSES, architecture, initialise

__all__ = ["PyramidNet"]

EXPANSION = 4


class PyramidBlock(nn.Module):
    """Batch norms before the convolutions, none of them followed by an activation before the first, one after the last.

    The skip is average-pooled where the size halves, and padded with channels of zeros.
    """

    def __init__(self, inside: int, planes: int, stride: int) -> None:
        super().__init__()
        outside = planes * EXPANSION
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv1 = conv1x1(inside, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes, stride)
        self.bn3 = nn.BatchNorm2d(planes)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv3 = conv1x1(planes, outside)
        self.bn4 = nn.BatchNorm2d(outside)
        self.pool = nn.AvgPool2d(2) if stride == 2 else nn.Identity()
        self.added = outside - inside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Feature maps (N, 4 planes, H / stride, W / stride) of feature maps (N, inside, H, W)."""
        branch = self.conv2(self.relu1(self.bn2(self.conv1(self.bn1(x)))))
        branch = self.bn4(self.conv3(self.relu2(self.bn3(branch))))
        skip: torch.Tensor = functional.pad(self.pool(x), (0, 0, 0, 0, 0, self.added))
        out: torch.Tensor = branch + skip
        return out


class PyramidNet(nn.Module):
    """Bottleneck blocks of floor(16 + alpha i / n) channels for i = 1 ... n, n = (depth - 2) / 3, in three stages.

    Han, Kim, Kim: Deep Pyramidal Residual Networks, CVPR 2017, arXiv 1610.02915.

    Args:
        depth: of the whole network; 2 more than a multiple of 9.
        alpha: how many channels are added from the first block to the last.
        width: multiplies the 16 and alpha.
    """

    def __init__(self, depth: int, alpha: float, width: float = 1.0) -> None:
        super().__init__()
        per_stage = (depth - 2) // 9
        blocks = 3 * per_stage
        first = max(4, round(16 * width))
        self.conv1 = conv3x3(3, first)
        self.bn1 = nn.BatchNorm2d(first)
        inside = first
        self.stages = ["layer1", "layer2", "layer3"]
        for stage, name in enumerate(self.stages):
            made = []
            for number in range(per_stage):
                planes = math.floor(first + alpha * width * (stage * per_stage + number + 1) / blocks)
                made.append(PyramidBlock(inside, planes, 2 if stage and number == 0 else 1))
                inside = planes * EXPANSION
            self.add_module(name, nn.Sequential(*made))
        self.bn2 = nn.BatchNorm2d(inside)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inside, CLASSES)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, 10) of images (N, 3, 32, 32)."""
        x = self.bn1(self.conv1(x))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        logits: torch.Tensor = self.fc(self.avgpool(self.relu(self.bn2(x))).flatten(1))
        return logits


@architecture("pyramidnet272_a200")
def pyramidnet272_a200(width: float) -> nn.Module:
    """PyramidNet-272, alpha 200, bottlenecks; one of the paper's victims (Han, Kim, Kim, 1610.02915)."""
    return PyramidNet(272, 200, width)


@architecture("pyramidnet110_a84")
def pyramidnet110_a84(width: float) -> nn.Module:
    """PyramidNet-110, alpha 84, bottlenecks: a smaller one (Han, Kim, Kim, 1610.02915)."""
    return PyramidNet(110, 84, width)
