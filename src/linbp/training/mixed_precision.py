"""Where bfloat16 is slower than float32, and what is done there."""

from __future__ import annotations

import functools

import torch
from torch import nn

__all__ = ["full_where_faster"]


def full_where_faster(network: nn.Module, device: torch.device) -> None:
    """Let strided depthwise convolutions compute in float32 on CPUs, also under autocast.

    The library's gradient of a depthwise convolution of stride 2 in bfloat16 takes 5 to 30 times as long as in float32
    there, which was half of a step of MobileNet v2; that of stride 1 does not.

    Args:
        network: changed in place; names, weights and what it computes in float32 are as before.
        device: that it trains on; elsewhere than on a CPU nothing is done.
    """
    if device.type != "cpu":
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1 and set(module.stride) != {1}:
            module.forward = functools.partial(_in_float32, module)  # type: ignore[method-assign]


def _in_float32(module: nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
    with torch.autocast(images.device.type, enabled=False):
        return type(module).forward(module, images.float()).to(images.dtype)
