"""L2 norms of gradients, image by image."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

__all__ = ["image_norms", "norm_ratio", "without_branches"]

SMALLEST_NORM = 1e-12
"""Below it, squares of float32 (and above a hundred times more, of half precision) begin to vanish."""


class _Traced(threading.local):
    """Whether operations are being recorded, thread by thread: then none may depend on values."""

    now = False


_traced = _Traced()


@contextlib.contextmanager
def without_branches() -> Iterator[None]:
    """Inside, norms are computed by the same operations whatever the values are."""
    _traced.now = True
    try:
        yield
    finally:
        _traced.now = False


def image_norms(tensor: torch.Tensor) -> torch.Tensor:
    """The L2 norm of each image's values (N, ...), shape (N,).

    Where the square of a tiny or huge norm leaves float32, and for that image only, the sum is taken in float64 (at a
    quarter of the speed). `without_branches`, every image's values are divided by the largest of them first.
    """
    dims = tuple(range(1, tensor.ndim))
    if _traced.now:
        largest = tensor.abs().amax(dims, keepdim=True)
        unit = torch.where(largest > 0, largest, 1.0)
        scaled: torch.Tensor = torch.linalg.vector_norm(tensor / unit, dim=dims) * unit.flatten()
        return scaled
    norms: torch.Tensor = torch.linalg.vector_norm(tensor, dim=dims)
    doubtful = (norms < SMALLEST_NORM) | ~torch.isfinite(norms)
    if tensor.dtype == torch.float64 or tensor.device.type == "mps" or not bool(doubtful.any()):
        return norms
    exact = norms.double()
    exact[doubtful] = torch.linalg.vector_norm(tensor[doubtful].double(), dim=dims)
    return exact


def norm_ratio(above: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
    """|above| / |below| for each image, shaped to multiply `below`; 0 where |below| is 0.

    Args:
        above: a gradient (N, ...), or its norms (N,).
        below: a gradient (N, ...).
    """
    above = above if above.ndim == 1 else image_norms(above)
    norms = image_norms(below)
    value = torch.where(norms > 0, above / torch.where(norms > 0, norms, 1.0), 0.0)
    return value.to(below.dtype).view(-1, *[1] * (below.ndim - 1))
