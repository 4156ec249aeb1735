"""The second half of the tiny residual network written out: from its first block's output to the logits, and back."""

from __future__ import annotations

from collections.abc import Callable

import torch
from eager import Array
from tiny_networks import Residual
from torch import nn
from torch.nn import functional

__all__ = ["MAP", "Score", "tail_gradient"]

MAP = "blocks.0"
Score = Callable[[Array], Array]
"""From an image's logits, the gradient of a number with respect to them."""


def tail_gradient(net: Residual, value: Array, score: Score, leak: float = 0.0) -> Array:
    """The gradient of a score at a value of the first block's output (C, H, W), by the second block's masks there.

    Args:
        net: in float64.
        value: of the feature map.
        score: of the logits that follow from it.
        leak: what the ReLU inside the second block passes where it is closed.
    """
    block = net.blocks[1]
    with torch.no_grad():
        fork = torch.from_numpy(value)[None]
        inner = block.bn1(block.conv1(fork))
        after = block.bn2(block.conv2(inner.clamp(min=0))) + fork
        logits = net.head(after.clamp(min=0).flatten(1))
        upstream = torch.from_numpy(score(logits[0].numpy()))[None] @ net.head.weight
        gradient = upstream.view(fork.shape) * (after > 0)
        passed = torch.where(inner > 0, 1.0, leak) * _back(block.conv2, block.bn2, gradient)
        return (gradient + _back(block.conv1, block.bn1, passed))[0].numpy()


def _back(layer: nn.Conv2d, norm: nn.BatchNorm2d, gradient: torch.Tensor) -> torch.Tensor:
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()  # type: ignore[operator]
    return functional.conv_transpose2d(gradient * scale[:, None, None], layer.weight, padding=1)
