"""Where training computes in bfloat16, and where that would be slower than float32."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from linbp.errors import ModelError

__all__ = ["has_fast_bfloat16", "suit_bfloat16", "uses_bfloat16"]


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16: some GPUs and some processors do."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Older versions of torch do not say.
    has: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def uses_bfloat16(wanted: bool | None, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether bfloat16 is mixed in: if asked for, and unasked on GPUs that compute in it.

    Raises:
        ModelError: asked for, and the network is not float32.
    """
    if wanted and dtype != torch.float32:
        raise ModelError(
            f"Mixed precision is for float32 networks, and this one is {str(dtype).removeprefix('torch.')}.",
            "Use --precision full (mixed_precision=False in Python).",
        )
    if wanted is None:
        return dtype == torch.float32 and device.type == "cuda" and has_fast_bfloat16(device)
    return wanted


def suit_bfloat16(network: nn.Module, device: torch.device) -> None:
    """Let a network that trains under autocast on a CPU avoid what is slow in bfloat16 there.

    The library's gradient of a depthwise convolution of stride 2 in bfloat16 takes 5 to 30 times as long as in float32,
    which was half of a step of MobileNet v2: it computes in float32. That of stride 1 does not. The gradient of fused
    attention takes 5 times as long, which was 40% of a small transformer's step: timm's blocks compute products and
    softmax one by one.

    Args:
        network: changed in place; names and weights are as before.
        device: that it trains on; elsewhere than on a CPU nothing is done.
    """
    if device.type != "cpu":
        return
    for module in network.modules():
        if getattr(module, "fused_attn", False) is True:
            module.fused_attn = False  # type: ignore[assignment]
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1 and set(module.stride) != {1}:
            module.forward = functools.partial(_in_float32, module)  # type: ignore[method-assign]


def _in_float32(module: nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
    with torch.autocast(images.device.type, enabled=False):
        return type(module).forward(module, images.float()).to(images.dtype)
