"""3 x 3 convolutions of many channels with fewer multiplications, forwards and backwards.

Winograd's minimal filtering F(2 x 2, 3 x 3) computes a 2 x 2 tile of the result from a 4 x 4 tile d of the input,

    Y = A' [ (G w G') * (B' d B) ] A,

with 16 multiplications instead of 36; added up over channels, they are 16 matrix products (Lavin, Gray: Fast Algorithms
for Convolutional Neural Networks, CVPR 2016, arXiv 1509.09308). Where channels are many and maps small, the transforms
cost less than the multiplications that are saved. The result is as exact as that of the library's direct convolution:
sums over the channels alone are shorter.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import fx, nn
from torch.utils.weak import WeakTensorKeyDictionary

from linbp.graph.kernels.convolution import convolution_of
from linbp.graph.kernels.layout import GROUP
from linbp.graph.kernels.replace import replace_where

__all__ = ["Winograd", "winograd"]

FEWEST_CHANNELS = 256
"""Where tiles cover the maps; as many times more as tiles stick out of maps of odd size."""
LARGEST_TILES = 16 * 2**20
"""Elements of a batch's transformed tiles, of which there are two at a time: they cost memory."""

KERNEL = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))
FORWARD, TURNED = (0, 1, 2, 3), (3, 1, 2, 0)
"""Where the four rows of a transformed tile go; a kernel turned around has the first and last row of G w exchanged."""

_transformed = WeakTensorKeyDictionary()


class Winograd(nn.Module):
    """A 3 x 3 convolution of stride 1 and padding 1, with its input gradient.

    Args:
        weight: (out, in, 3, 3), never changed afterwards.
        bias: (out,), or None.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.bias = bias
        if weight not in _transformed:  # networks with different rules share it
            _transformed[weight] = _transform(weight)
        self.kernels: torch.Tensor = _transformed[weight]

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """The convolution of maps (N, in, H, W)."""
        result: torch.Tensor = _Convolution.apply(value, self)
        return result


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, convolution: Winograd) -> torch.Tensor:
        ctx.convolution = convolution
        return _convolve(value, convolution.kernels, convolution.bias, FORWARD)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        # the input gradient is the convolution with the kernels turned by 180 degrees and transposed
        return _convolve(gradients[0], ctx.convolution.kernels.transpose(1, 2), None, TURNED), None


def _transform(weight: torch.Tensor) -> torch.Tensor:
    """G w G' for every pair of channels, (16, in, out)."""
    kernel = torch.tensor(KERNEL, dtype=torch.float64)
    tiles = torch.einsum("ia,ocab,jb->ijco", kernel, weight.double(), kernel)
    return tiles.reshape(16, weight.shape[1], weight.shape[0]).to(weight.dtype)


def _convolve(
    value: torch.Tensor, kernels: torch.Tensor, bias: torch.Tensor | None, order: tuple[int, ...]
) -> torch.Tensor:
    """Maps (N, in, H, W) to (N, out, H, W); `order` says where each row of a transformed tile goes."""
    count, channels, height, width = value.shape
    rows, columns, out = -(-height // 2), -(-width // 2), kernels.shape[2]
    padded = value.new_zeros(count, 2 * rows + 2, 2 * columns + 2, channels)
    padded[:, 1 : height + 1, 1 : width + 1] = value.permute(0, 2, 3, 1)
    half = value.new_empty(4, count, rows, 2 * columns + 2, channels)
    _into_tiles([padded[:, i : i + 2 * rows : 2] for i in range(4)], [half[i] for i in order])
    tiles = value.new_empty(4, 4, count, rows, columns, channels)
    _into_tiles([half[:, :, :, j : j + 2 * columns : 2] for j in range(4)], [tiles[:, j] for j in order])
    products = torch.bmm(tiles.view(16, -1, channels), kernels).view(4, 4, count, rows, columns, out)
    lines = value.new_empty(4, count, rows, 2, columns, out)
    _out_of_tiles([products[i] for i in order], [lines[:, :, :, 0], lines[:, :, :, 1]])
    size = (count, out, 2 * rows, 2 * columns)
    result = torch.empty(size, dtype=value.dtype, memory_format=torch.channels_last)
    pixels = result.permute(0, 2, 3, 1).view(count, rows, 2, columns, 2, out)
    _out_of_tiles([lines[j] for j in order], [pixels[:, :, :, :, 0], pixels[:, :, :, :, 1]])
    if bias is not None:
        result += bias[:, None, None]
    if size[2:] == (height, width):
        return result
    return result[:, :, :height, :width].contiguous(memory_format=torch.channels_last)


def _into_tiles(given: list[torch.Tensor], result: list[torch.Tensor]) -> None:
    """B' along one axis."""
    torch.sub(given[0], given[2], out=result[0])
    torch.add(given[1], given[2], out=result[1])
    torch.sub(given[2], given[1], out=result[2])
    torch.sub(given[1], given[3], out=result[3])


def _out_of_tiles(given: list[torch.Tensor], result: list[torch.Tensor]) -> None:
    """A' along one axis."""
    torch.add(given[1], given[2], out=result[0]).add_(given[0])
    torch.sub(given[1], given[2], out=result[1]).sub_(given[3])


def winograd(network: fx.GraphModule) -> int:
    """Let 3 x 3 convolutions of many channels multiply less; how many there are."""
    return replace_where(network, "winograd", partial(_winograd_of, network))


def _winograd_of(network: fx.GraphModule, node: fx.Node) -> Winograd | None:
    """The form of a node with fewer multiplications, or None where it is no 3 x 3 convolution that gains by it.

    It has one on a CPU, in float32, with stride and padding 1, many channels, and maps that are small for the batch.
    """
    found = convolution_of(network, node)
    if found is None or not found.fast or found.weight.shape[2:] != (3, 3) or found.groups != 1:
        return None
    if found.stride != (1, 1) or found.padding != (1, 1) or found.dilation != (1, 1):
        return None
    maps: Any = node.meta.get("val")
    if not isinstance(maps, torch.Tensor) or any(not isinstance(length, int) for length in maps.shape[2:]):
        return None
    height, width = maps.shape[2:]
    rows, columns = -(-height // 2), -(-width // 2)
    fewest = FEWEST_CHANNELS * 4 * rows * columns / (height * width)
    channels = found.weight.shape[:2]
    if min(channels) < fewest or 16 * GROUP * rows * columns * max(channels) > LARGEST_TILES:
        return None
    return Winograd(found.weight, found.bias)
