"""MobileNet v2 with the strides for images of 32 x 32 pixels."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision.models.mobilenetv2 import MobileNetV2  # type: ignore[import-untyped]

from linbp.zoo.architectures.registry import CLASSES, architecture

__all__ = ["mobilenet_v2"]

STAGES = [[1, 16, 1, 1], [6, 24, 2, 1], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]]
"""Expansion, channels, blocks and stride of each stage; the first stride of 2 of the paper's table is 1 here."""


@architecture("mobilenet_v2")
def mobilenet_v2(width: float) -> nn.Module:
    """MobileNet v2: inverted residuals, depthwise convolutions, ReLU6; the first two strides are 1 (1801.04381)."""
    # No dropout: what a network draws while it is trained would have to be kept for going on after a kill.
    network: Any = MobileNetV2(CLASSES, width, STAGES, dropout=0.0)
    network.features[0][0].stride = (1, 1)
    for module in network.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = False  # in place, PyTorch clamps into a copy and copies back: a sixth of a step on a CPU
    return network  # type: ignore[no-any-return]
