"""A plain convolutional network: no sums, no branches."""

from __future__ import annotations

from torch import nn

from linbp.zoo.architectures.registry import CLASSES, architecture, initialise, scaled

__all__ = ["plain"]


@architecture("plain")
def plain(width: float) -> nn.Module:
    """A plain chain of 7 convolutions with 32 to 256 channels and a linear layer (after Jordan, 2404.00498)."""
    stem, *stages = (scaled(channels, width) for channels in (32, 64, 256, 256))
    features: list[nn.Module] = _convolution(3, stem, pool=False)
    inside = stem
    for outside in stages:
        features += [*_convolution(inside, outside, pool=True), *_convolution(outside, outside, pool=False)]
        inside = outside
    network = nn.Sequential()
    network.add_module("features", nn.Sequential(*features))
    network.add_module("pool", nn.AdaptiveMaxPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("classifier", nn.Linear(inside, CLASSES))
    initialise(network)
    return network


def _convolution(inside: int, outside: int, pool: bool) -> list[nn.Module]:
    """The max-pool comes before the batch norm, which then has a quarter of the work."""
    return [
        nn.Conv2d(inside, outside, 3, padding=1, bias=False),
        *([nn.MaxPool2d(2)] if pool else []),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    ]
