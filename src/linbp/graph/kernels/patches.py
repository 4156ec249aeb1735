"""A faster input gradient for patch embeddings, the first convolution of vision transformers, ConvNeXts and mixers.

Their kernel is as large as their stride, so no two patches share a pixel, and the input gradient is one product of
matrices. CPU libraries compute it as the gradient of any strided convolution, which takes several times as long.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from linbp.graph.kernels.convolution import convolution_of
from linbp.graph.kernels.replace import replace
from linbp.graph.kernels.stem import MOST_CHANNELS

__all__ = ["Patches", "patches"]


class Patches(nn.Module):
    """A convolution of patches that do not overlap.

    Args:
        weight: (out, in, height, width), with few input channels; the stride is (height, width).
        bias: (out,), or None.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.side = tuple(weight.shape[2:])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The convolution."""
        result: torch.Tensor = _Convolution.apply(images, self)
        return result

    def gradient(self, gradient: torch.Tensor, size: torch.Size) -> torch.Tensor:
        """The gradient at an input of the given size; pixels behind the last whole patch have none."""
        count, channels, height, width = size
        rows, columns = gradient.shape[2:]
        pixels = gradient.permute(0, 2, 3, 1).flatten(0, 2) @ self.weight.flatten(1)
        parts = pixels.view(count, rows, columns, channels, *self.side).permute(0, 3, 1, 4, 2, 5)
        whole = parts.reshape(count, channels, rows * self.side[0], columns * self.side[1])
        rest = (0, width - whole.shape[3], 0, height - whole.shape[2])
        return functional.pad(whole, rest) if any(rest) else whole


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, module: Patches) -> torch.Tensor:
        ctx.module, ctx.size = module, images.shape
        return functional.conv2d(images, module.weight, module.bias, module.side)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return ctx.module.gradient(gradients[0], ctx.size), None


def patches(network: fx.GraphModule) -> int:
    """Give patch embeddings the faster input gradient, on a CPU and in float32; how many there are."""
    count = 0
    for node in list(network.graph.nodes):
        found = convolution_of(network, node)
        if found is None or not found.fast or found.weight.shape[1] > MOST_CHANNELS or found.groups != 1:
            continue
        apart = found.stride == tuple(found.weight.shape[2:]) != (1, 1) and found.padding == (0, 0)
        if apart and found.dilation == (1, 1):
            replace(network, node, "patches", Patches(found.weight, found.bias))
            count += 1
    return count
