"""The norms of each image's gradient, in float64: exact for tiny and huge gradients, and the same in any batch.

In float32, squares of gradients below 1e-23 vanish, sums in half precision overflow, and a processor with several
threads adds the values of one image in another order than those of many.
"""

from __future__ import annotations

import torch

__all__ = ["absolute_mean", "absolute_sum", "divided", "euclidean", "pointing", "summable"]

DIMS = (1, 2, 3)


def wide(tensor: torch.Tensor) -> torch.dtype:
    """The dtype of norms: float64, or float32 on devices that have none."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def absolute_sum(tensor: torch.Tensor) -> torch.Tensor:
    """The L1 norm of each image (N, C, H, W), shape (N, 1, 1, 1)."""
    return tensor.abs().sum(dim=DIMS, keepdim=True, dtype=wide(tensor))


def absolute_mean(tensor: torch.Tensor) -> torch.Tensor:
    """The mean of each image's absolute values, shape (N, 1, 1, 1)."""
    return absolute_sum(tensor) / tensor[0].numel() if len(tensor) else absolute_sum(tensor)


def euclidean(tensor: torch.Tensor) -> torch.Tensor:
    """The L2 norm of each image, shape (N, 1, 1, 1)."""
    norm: torch.Tensor = tensor.to(wide(tensor)).square().sum(dim=DIMS, keepdim=True).sqrt()
    return norm


def divided(tensor: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    """Each image over its norm, in the images' dtype; an image of norm 0 stays as it is."""
    return (tensor.to(norms.dtype) / torch.where(norms > 0, norms, 1)).to(tensor.dtype)


def summable(gradient: torch.Tensor) -> torch.Tensor:
    """A gradient in a dtype that holds the shares of an image's sum: float16 has no numbers small or large enough."""
    return gradient.float() if gradient.dtype == torch.float16 else gradient


def pointing(total: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A sum of gradients as a direction in their dtype: itself, or divided by its largest value in a narrower one."""
    if total.dtype == dtype:
        return total
    return divided(total, total.abs().amax(dim=DIMS, keepdim=True)).to(dtype)
