"""3 x 3 convolutions with half of the multiplications: Winograd's F(4, 3) along the height.

Four rows of the result need six rows of the input. Six combinations of these are convolved with 1 x 3 kernels, each a
combination of the 3 x 3 kernel's rows, and the results are combined to four rows: 18 multiplications for four pixels
and a pair of channels instead of 36 (Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016, in
one dimension). oneDNN computes 1 x 3 convolutions as fast as 3 x 3 ones, and the sums between cost little. The last
bits change, and rounding errors are about twice as large as a direct convolution's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional
from torch.utils.weak import WeakTensorKeyDictionary

from linbp.graph.kernels.convolution import Convolution, convolution_of
from linbp.graph.kernels.replace import replace

__all__ = ["Winograd", "winograd"]

LEAST_CHANNELS = 36
"""Of (in x out) / (in + out): the multiplications that are saved, to the values that are combined for it."""

LEAST_ROWS = 100
"""Of the result, in all images: with fewer, the six kernels, twice as large as the one, cost time, or much memory for a
hundredth of a step."""

ROWS = (
    (1 / 4, 0.0, 0.0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0.0, 0.0, 1.0),
)
"""What the six kernels have of the 3 x 3 kernel's rows: its values at the points 0, 1, -1, 2, -2 and infinity."""

_kernels = WeakTensorKeyDictionary()
"""The kernels of each weight, of the forward and of the backward pass."""


class Winograd(nn.Module):
    """A 3 x 3 convolution of stride 1.

    Args:
        weight: (out, in, 3, 3).
        bias: (out,), or None.
        padding: of both axes, at most 2.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, padding: tuple[int, int]) -> None:
        super().__init__()
        self.bias, self.padding = bias, padding
        if weight not in _kernels:  # networks with different rules share them
            _kernels[weight] = _combined(weight), _combined(weight.flip(2, 3).transpose(0, 1))
        self.kernels, self.transposed = _kernels[weight]

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """The convolution."""
        result: torch.Tensor = _Convolution.apply(value, self)
        return result


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, module: Winograd) -> torch.Tensor:
        ctx.module = module
        return convolve(value, module.kernels, module.bias, module.padding)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        rows, columns = ctx.module.padding
        return convolve(gradients[0], ctx.module.transposed, None, (2 - rows, 2 - columns)), None


def _combined(weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The six kernels (out, in, 1, 3) of one of (out, in, 3, 3)."""
    rows = torch.tensor(ROWS, dtype=torch.float64)
    kernels = torch.einsum("pr,oirc->poic", rows, weight.double())[:, :, :, None].to(weight)
    return tuple(kernel.contiguous(memory_format=torch.channels_last) for kernel in kernels)


def convolve(
    value: torch.Tensor, kernels: tuple[torch.Tensor, ...], bias: torch.Tensor | None, padding: tuple[int, int]
) -> torch.Tensor:
    """A 3 x 3 convolution (N, in, H, W) -> (N, out, H', W') by its six kernels."""
    height = value.shape[2] + 2 * padding[0] - 2
    most = -(-height // 4) * 4
    around = (0, 0, padding[0], most + 2 - value.shape[2] - padding[0])
    padded = functional.pad(value.contiguous(memory_format=torch.channels_last), around)
    row0, row1, row2, row3, row4, row5 = (padded[:, :, row : row + most - 3 : 4] for row in range(6))
    even, odd = torch.add(row4, row2, alpha=-4), torch.add(row3, row1, alpha=-4)
    even2, odd2 = row4 - row2, (row3 - row1).mul_(2)
    combined = (
        torch.add(row4, row0, alpha=4).sub_(row2, alpha=5),
        even + odd,
        even.sub_(odd),
        even2 + odd2,
        even2.sub_(odd2),
        torch.add(row5, row1, alpha=4).sub_(row3, alpha=5),
    )
    at0, at1, less1, at2, less2, last = (
        torch.ops.aten.mkldnn_convolution(
            rows, kernel, bias if point == 1 else None, (0, padding[1]), (1, 1), (1, 1), 1
        )
        for point, (rows, kernel) in enumerate(zip(combined, kernels, strict=True))  # a constant is its value at 1
    )
    shape = (len(value), at0.shape[1], height, at0.shape[3])
    result = torch.empty(shape, dtype=value.dtype, memory_format=torch.channels_last)
    even, odd, even2, odd2 = at1 + less1, at1.sub_(less1), at2 + less2, at2.sub_(less2)
    sums = (at0.add_(even), even2, 1), (odd, odd2, 2), (even, even2, 4), (last.add_(odd), odd2, 8)
    for row, (one, other, times) in enumerate(sums):
        to = result[:, :, row::4]
        torch.add(one[:, :, : to.shape[2]], other[:, :, : to.shape[2]], alpha=times, out=to)
    return result


def winograd(network: fx.GraphModule, images: int) -> int:
    """Save multiplications in 3 x 3 convolutions of many channels, on a CPU and in float32; how many there are.

    Args:
        network: changed in place.
        images: that it computes at a time.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return 0
    count = 0
    for node in list(network.graph.nodes):
        found = convolution_of(network, node)
        if found is not None and _gains(found, node.meta.get("val"), images):
            replace(network, node, "winograd", Winograd(found.weight, found.bias, found.padding))
            count += 1
    return count


def _gains(found: Convolution, result: Any, images: int) -> bool:
    """Whether it has a 3 x 3 kernel of stride 1, and enough channels and rows; by shape alone, so that bits stay."""
    out, into, *kernel = found.weight.shape
    ordinary = found.stride == found.dilation == (1, 1) and found.groups == 1 and max(found.padding) <= 2
    if not found.fast or kernel != [3, 3] or not ordinary or not isinstance(result, torch.Tensor):
        return False
    return out * into >= LEAST_CHANNELS * (out + into) and int(result.shape[2]) * images >= LEAST_ROWS
