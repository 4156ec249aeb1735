"""The norm of a branch's ordinary gradient without the last convolution of its backward pass.

LinBP's ratio needs |v|, and v itself is thrown away. Where a branch begins with a 1 x 1 convolution W from many
channels to few (a bottleneck), v = W' z at each position, and in the QR decomposition W' = Q R the columns of Q are
orthonormal, so |v| = |R z|. R is square, as large as z has channels: a quarter of the multiplications in ResNet-50,
exact, and without the cancellation of z' (W W') z.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional
from torch.utils.weak import WeakTensorKeyDictionary

from linbp.graph.engine.branch import BranchModule
from linbp.graph.engine.mode import BackwardMode
from linbp.graph.engine.norms import image_norms
from linbp.graph.kernels.convolution import convolution_of
from linbp.graph.kernels.replace import replace

__all__ = ["Entry", "entry"]

_factors = WeakTensorKeyDictionary()
"""W' and R of each weight."""


class Entry(nn.Module):
    """A branch's first convolution, which can measure the gradient at its input without computing it.

    Args:
        weight: (out, in, 1, 1) with out < in.
        bias: (out,), or None.
        mode: of the network; while its `measured_at` is this module, a backward pass ends here and leaves the norms of
            the images' gradients, shape (N,), in `mode.norms`.
    """

    convolve: Callable[..., torch.Tensor] = staticmethod(functional.conv2d)
    """What computes its convolutions, from values, weight and bias."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, mode: BackwardMode) -> None:
        super().__init__()
        self.weight, self.bias, self.mode = weight, bias, mode
        if weight not in _factors:  # networks with different rules share them
            matrix = weight[:, :, 0, 0].t()
            triangle = torch.linalg.qr(matrix.cpu().double(), mode="r").R.to(weight)  # mps has no float64
            _factors[weight] = _pointwise(matrix.clone()), _pointwise(triangle)  # no view of its own key
        self.transposed, self.triangle = _factors[weight]

    def forward(self, fork: torch.Tensor) -> torch.Tensor:
        """The convolution."""
        result: torch.Tensor = _Convolution.apply(fork, self)
        return result

    def gradient(self, gradient: torch.Tensor) -> torch.Tensor | None:
        """The gradient at the fork, or None where only its norms are asked for."""
        if self.mode.measured_at is not self:
            return self.convolve(gradient, self.transposed)
        self.mode.norms = image_norms(self.convolve(gradient, self.triangle))
        return None


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, fork: torch.Tensor, entry: Entry) -> torch.Tensor:
        ctx.entry = entry
        return entry.convolve(fork, entry.weight, entry.bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, None]:
        return ctx.entry.gradient(gradients[0]), None


def _pointwise(matrix: torch.Tensor) -> torch.Tensor:
    """A matrix as the weight of a 1 x 1 convolution."""
    return matrix.contiguous()[:, :, None, None].contiguous(memory_format=torch.channels_last)


def entry(network: fx.GraphModule) -> int:
    """Let branches measure the norm of their ordinary gradient in their first convolution; how many do."""
    count = 0
    for branch in network.children():
        if not isinstance(branch, BranchModule):
            continue
        fork = next(node for node in branch.network.graph.nodes if node.op == "placeholder")
        (_, cut), *_ = next(node.args for node in branch.network.graph.nodes if node.op == "output")
        users = list(fork.users)
        found = _entry_of(branch.network, users[0], branch.mode) if len(users) == 1 and users[0] is not cut else None
        if found is not None:
            branch.entry = found
            replace(branch.network, users[0], "entry", found)
            count += 1
    return count


def _entry_of(network: fx.GraphModule, node: fx.Node, mode: BackwardMode) -> Entry | None:
    """The measuring form of a node, or None where it is no 1 x 1 convolution from more channels to fewer."""
    found = convolution_of(network, node)
    if found is None or not found.weight.is_floating_point() or found.weight.shape[0] >= found.weight.shape[1]:
        return None
    one = found.weight.shape[2:] == (1, 1) and found.stride == (1, 1) and found.padding == (0, 0) and found.groups == 1
    return Entry(found.weight, found.bias, mode) if one else None
