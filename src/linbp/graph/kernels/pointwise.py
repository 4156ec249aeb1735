"""1 x 1 convolutions as oneDNN computes them.

With one thread and fewer than 16 images, torch multiplies matrices (MKL) instead, which takes about twice as long on
AMD processors. The sums are the same, in another order, so this is no pass for everybody: the last bits change.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn
from torch.utils.weak import WeakTensorKeyDictionary

from linbp.graph.kernels.convolution import convolution_of
from linbp.graph.kernels.entry import Entry
from linbp.graph.kernels.replace import replace

__all__ = ["Pointwise", "onednn", "pointwise"]

_transposed = WeakTensorKeyDictionary()
"""The weight of each convolution's backward pass."""


class Pointwise(nn.Module):
    """A 1 x 1 convolution of stride 1 by oneDNN, in the forward and in the backward pass.

    Args:
        weight: (out, in, 1, 1).
        bias: (out,), or None.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        if weight not in _transposed:  # networks with different rules share them
            _transposed[weight] = weight.transpose(0, 1).contiguous(memory_format=torch.channels_last)
        self.transposed = _transposed[weight]

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """The convolution."""
        result: torch.Tensor = _Convolution.apply(value, self)
        return result


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, module: Pointwise) -> torch.Tensor:
        ctx.module = module
        return onednn(value, module.weight, module.bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return onednn(gradients[0], ctx.module.transposed), None


def onednn(value: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """A 1 x 1 convolution (N, in, H, W) -> (N, out, H, W) of stride 1."""
    value = value.contiguous(memory_format=torch.channels_last)
    result: torch.Tensor = torch.ops.aten.mkldnn_convolution(value, weight, bias, (0, 0), (1, 1), (1, 1), 1)
    return result


def pointwise(network: fx.GraphModule) -> int:
    """Let oneDNN compute 1 x 1 convolutions of stride 1, on a CPU and in float32; how many it does."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return 0
    count = 0
    for module in network.children():
        if isinstance(module, Entry) and module.weight.dtype == torch.float32 and module.weight.device.type == "cpu":
            module.convolve = onednn
            count += 1
    for node in list(network.graph.nodes):
        found = convolution_of(network, node)
        if found is None or not found.fast or found.groups != 1 or found.weight.shape[2:] != (1, 1):
            continue
        if found.stride == (1, 1) and found.padding == (0, 0):
            replace(network, node, "pointwise", Pointwise(found.weight, found.bias))
            count += 1
    return count
