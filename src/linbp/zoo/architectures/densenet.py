"""DenseNet-BC in the form for images of 32 x 32 pixels."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision.models.densenet import DenseNet  # type: ignore[import-untyped]
from torchvision.models.resnet import conv3x3  # type: ignore[import-untyped]

from linbp.zoo.architectures.registry import CLASSES, architecture

__all__ = ["densenet_bc"]


def densenet_bc(depth: int, growth: int) -> nn.Module:
    """DenseNet-BC: three dense blocks of (depth - 4) / 6 bottleneck layers, compression 0.5.

    Huang et al., Densely Connected Convolutional Networks, CVPR 2017, arXiv 1608.06993. torchvision's network, whose
    first 7 x 7 convolution and max-pool give way to a 3 x 3 convolution with 2 x growth channels.

    Args:
        depth: of the whole network.
        growth: channels that each layer adds.
    """
    blocks = ((depth - 4) // 6,) * 3
    network: Any = DenseNet(growth, blocks, num_init_features=2 * growth, bn_size=4, num_classes=CLASSES)
    for name in ("norm0", "relu0", "pool0"):
        delattr(network.features, name)
    network.features.conv0 = conv3x3(3, 2 * growth)
    nn.init.kaiming_normal_(network.features.conv0.weight)
    return network  # type: ignore[no-any-return]


@architecture("densenet_bc190_40")
def densenet_bc190_40(width: float) -> nn.Module:
    """DenseNet-BC 190-40; one of the paper's victims; the width scales the growth (Huang et al., 1608.06993)."""
    return densenet_bc(190, max(4, round(40 * width)))


@architecture("densenet_bc100_12")
def densenet_bc100_12(width: float) -> nn.Module:
    """DenseNet-BC 100-12, a small one; the width scales the growth (Huang et al., 1608.06993)."""
    return densenet_bc(100, max(4, round(12 * width)))


@architecture("densenet_bc40_12")
def densenet_bc40_12(width: float) -> nn.Module:
    """DenseNet-BC 40-12, for slow machines; the width scales the growth (Huang et al., 1608.06993)."""
    return densenet_bc(40, max(4, round(12 * width)))
