"""Names of the CIFAR-10 architectures and what each name builds."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from linbp.errors import ModelError, nearest_name
from linbp.zoo.architectures.activation import replace_activations

__all__ = ["ARCHITECTURES", "Architecture", "architecture", "count_parameters", "find_architecture", "scaled"]

INPUT_SIZE = (3, 32, 32)
CLASSES = 10
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The classes in the order of the logits."""
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""Of each channel over the training images, on the scale of [0, 1]."""


@dataclass(frozen=True)
class Architecture:
    """One architecture for images of 32 x 32 pixels and ten classes.

    Attributes:
        name: as commands and cards write it.
        build: the untrained network, given a width factor; 1 is the form of the literature.
        summary: what it is and where it comes from.
    """

    name: str
    build: Callable[[float], nn.Module]
    summary: str


ARCHITECTURES: dict[str, Architecture] = {}
"""All architectures by name."""


def architecture(name: str) -> Callable[[Callable[[float], nn.Module]], Callable[[float], nn.Module]]:
    """Decorator that registers a function from a width factor to a network; its docstring becomes the summary.

    Raises:
        ValueError: the name is taken.
    """

    def register(build: Callable[[float], nn.Module]) -> Callable[[float], nn.Module]:
        if name in ARCHITECTURES:
            raise ValueError(f"There is an architecture {name!r} already.")
        summary = " ".join((inspect.getdoc(build) or "").partition("\n\n")[0].split())
        ARCHITECTURES[name] = Architecture(name, build, summary)
        return build

    return register


def find_architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        ModelError: there is none.
    """
    if name not in ARCHITECTURES:
        raise ModelError(f"There is no CIFAR-10 architecture {name!r}.", nearest_name(name, ARCHITECTURES))
    return ARCHITECTURES[name]


def build(name: str, width: float = 1.0, activation: str | None = None) -> nn.Module:
    """An untrained network; its weights are drawn from torch's generator.

    Args:
        name: of an architecture.
        width: what the numbers of channels are multiplied with.
        activation: `relu` or `gelu` in the place of every activation; by default each network has its own.

    Raises:
        ModelError: no such architecture or activation, or a width that no network has.
    """
    found = find_architecture(name)
    if not (isinstance(width, int | float) and math.isfinite(width) and 0 < width <= 16):
        raise ModelError(f"The width is {width}.", "--width is a number above 0 and at most 16, such as 0.25.")
    network = found.build(float(width))
    if activation is not None:
        replace_activations(network, activation)
    return network


def count_parameters(name: str, width: float = 1.0) -> int:
    """How many numbers are trained, without allocating any of them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(name, width).parameters())


def scaled(channels: float, width: float, multiple: int = 8) -> int:
    """`channels * width`, rounded to a multiple, and never less than one multiple."""
    return max(multiple, multiple * round(channels * width / multiple))


def initialise(module: nn.Module) -> None:
    """He's normal initialisation (fan out) of convolutions; norms start as the identity."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)
