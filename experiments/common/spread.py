"""Residual networks whose projections pass a smooth gradient back, and answer as before."""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import nn
from torch.nn import functional

import linbp
from linbp.errors import ModelError

__all__ = ["resnet18", "resnet50", "spread"]


class Spread(nn.Module):
    """The identity, whose gradient is spread over neighbours: (1, 2, 1) / 4 along rows and columns.

    A projection with stride two takes every second row and column, so that its gradient is zero at three of four
    places; behind this it is bilinear between those it takes, and its sum is the same.
    """

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        line = value.new_tensor([1.0, 2.0, 1.0])
        kernel = (line[:, None] * line / 16).expand(value.shape[1], 1, 3, 3)
        framed = functional.pad(value, (1, 1, 1, 1), mode="replicate")  # gives back what would fall over the edge
        smooth = functional.conv2d(framed, kernel, groups=value.shape[1])
        # Not a sum: the rules would take that for a residual one.
        return torch.addcmul(value.detach(), smooth - smooth.detach(), torch.ones_like(value))


def spread(model: linbp.Model) -> linbp.Model:
    """A copy of a network of torchvision's blocks in which every projection with a stride spreads its gradient.

    Raises:
        ModelError: no block has such a projection, under torchvision's name for it.
    """
    found = copy.deepcopy(model).eval()
    projections = [getattr(module, "downsample", None) for module in found.module.modules()]
    strided = [one for one in projections if one is not None and one[0].stride != (1, 1)]
    if not strided:
        raise ModelError(f"{model.name} has no downsample with a stride.", "Take a ResNet of torchvision's blocks.")
    for one in strided:
        one.insert(0, Spread())
    return found


def _shipped(name: str) -> linbp.Model:
    found = linbp.load_model(f"demo:cifar10/{name}")
    assert isinstance(found, linbp.Model)
    return spread(found)


resnet18, resnet50 = partial(_shipped, "resnet18"), partial(_shipped, "resnet50")
"""The small networks that ship, for suites: `file:experiments/common/spread.py:resnet18`."""
