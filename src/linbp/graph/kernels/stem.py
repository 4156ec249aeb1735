"""A faster input gradient for a network's first convolution.

CPU libraries are slow at the input gradient of a strided convolution with three input channels: for ResNet's stem it
takes five to eight times the forward pass. Input pixels of one phase (the same remainder modulo the stride) see one
subset of the kernel's taps, so the gradient is an ordinary convolution of stride one to (channels x stride x stride)
maps, which are then interleaved. The sums are the same, in another order.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from linbp.graph.kernels.convolution import convolution_of
from linbp.graph.kernels.replace import replace

__all__ = ["Stem", "stem"]

MOST_CHANNELS = 4


class Stem(nn.Module):
    """A convolution whose input gradient is computed by phases.

    Args:
        weight: (out, in, k, k), with few input channels.
        bias: (out,), or None.
        stride: of both axes, at least 2.
        padding: of both axes.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, stride: int, padding: int) -> None:
        super().__init__()
        self.weight, self.bias, self.stride, self.padding = weight, bias, stride, padding
        kernel = weight.shape[-1]
        self.first = min(math.ceil((-phase - padding) / stride) for phase in range(stride))
        self.last = max((kernel - 1 - phase - padding) // stride for phase in range(stride))
        self.phases = self._phases().contiguous(memory_format=torch.channels_last)

    def _phases(self) -> torch.Tensor:
        """The kernel of the gradient: input pixel stride q + r is reached from output q - t by tap stride t + r + p."""
        out, channels, kernel, _ = self.weight.shape
        taps = self.last - self.first + 1
        phases = self.weight.new_zeros(channels, self.stride, self.stride, out, taps, taps)
        places = [
            (phase, self.last - tap, self.stride * tap + phase + self.padding)
            for phase in range(self.stride)
            for tap in range(self.first, self.last + 1)
            if 0 <= self.stride * tap + phase + self.padding < kernel
        ]
        for row_phase, row, row_tap in places:
            for column_phase, column, column_tap in places:
                phases[:, row_phase, column_phase, :, row, column] = self.weight[:, :, row_tap, column_tap].t()
        return phases.reshape(-1, out, taps, taps)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The convolution."""
        result: torch.Tensor = _Convolution.apply(images, self)
        return result

    def gradient(self, gradient: torch.Tensor, size: torch.Size) -> torch.Tensor:
        """The gradient at an input of the given size."""
        rows, columns = (math.ceil(length / self.stride) for length in size[2:])
        around = max(self.last, rows - self.first - gradient.shape[2], columns - self.first - gradient.shape[3], 0)
        maps = functional.conv2d(gradient, self.phases, padding=around)
        begin = around - self.last
        maps = maps[:, :, begin : begin + rows, begin : begin + columns]
        return functional.pixel_shuffle(maps, self.stride)[:, :, : size[2], : size[3]]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, stem: Stem) -> torch.Tensor:
        ctx.stem, ctx.size = stem, images.shape
        return functional.conv2d(images, stem.weight, stem.bias, stem.stride, stem.padding)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return ctx.stem.gradient(gradients[0], ctx.size), None


def stem(network: fx.GraphModule) -> int:
    """Give first convolutions the faster input gradient; how many there are."""
    found = {node: _stem_of(network, node) for node in network.graph.nodes}
    faster = {node: module for node, module in found.items() if module is not None}
    for node, module in faster.items():
        replace(network, node, "stem", module)
    return len(faster)


def _stem_of(network: fx.GraphModule, node: fx.Node) -> Stem | None:
    """The faster form of a node, or None where it is not a convolution that has one.

    It has one on a CPU, in float32, with few input channels and a kernel of more than twice its stride (with smaller
    kernels nothing is gained).
    """
    found = convolution_of(network, node)
    if found is None or not found.fast or found.weight.shape[1] > MOST_CHANNELS:
        return None
    kernel, (stride, across), (padding, around) = found.weight.shape[-1], found.stride, found.padding
    square = found.weight.shape[2] == kernel and stride == across and padding == around
    if not square or found.dilation != (1, 1) or found.groups != 1 or stride < 2 or kernel <= 2 * stride:
        return None
    return Stem(found.weight, found.bias, stride, padding)
