"""What a two-dimensional convolution in a captured graph is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from linbp.graph.capture.constants import constant

__all__ = ["Convolution", "convolution_of"]

aten = torch.ops.aten


@dataclass(frozen=True)
class Convolution:
    """A convolution with a known weight.

    Attributes:
        weight: (out, in / groups, height, width).
        bias: (out,), or None.
        stride: of both axes.
        padding: of both axes.
        dilation: of both axes.
        groups: how many.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    @property
    def fast(self) -> bool:
        """Whether it runs where this package has faster forms: on a CPU, in float32."""
        return self.weight.device.type == "cpu" and self.weight.dtype == torch.float32


def convolution_of(network: fx.GraphModule, node: fx.Node) -> Convolution | None:
    """The convolution that a node is, or None where it is something else or its weight is computed."""
    if node.op != "call_function" or node.target is not aten.conv2d.default or node.kwargs:
        return None
    weight, bias = constant(network, node.args[1]), constant(network, node.args[2] if len(node.args) > 2 else None)
    if weight is None:
        return None
    given: Any = (*node.args[3:], *((1, 1), (0, 0), (1, 1), 1)[len(node.args[3:]) :])
    stride, padding, dilation, groups = given
    return Convolution(weight, bias, _both(stride), _both(padding), _both(dilation), groups)


def _both(lengths: Any) -> tuple[int, int]:
    """One length for both axes, or one for each."""
    return lengths[0], lengths[-1]
