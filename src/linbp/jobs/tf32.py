"""TF32 on NVIDIA GPUs: float32 with ten bits after the point in products, and several times as fast."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["set_tf32", "tf32"]


def set_tf32(wanted: bool) -> None:
    """Let torch compute float32 convolutions and matrix products of NVIDIA GPUs in TF32, or in float32."""
    precision = "tf32" if wanted else "ieee"
    torch.backends.cudnn.conv.fp32_precision = precision  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = precision


@contextlib.contextmanager
def tf32(wanted: bool | None) -> Iterator[None]:
    """The same inside; afterwards it is as before. None: as torch is set, by default TF32 in convolutions only."""
    convolutions: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    products = torch.backends.cuda.matmul
    before = convolutions.fp32_precision, products.fp32_precision
    try:
        if wanted is not None:
            set_tf32(wanted)
        yield
    finally:
        convolutions.fp32_precision, products.fp32_precision = before
