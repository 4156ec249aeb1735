"""Translation invariance: the gradient at the image, smoothed."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch.nn import functional

from linbp.attack.context import Context
from linbp.attack.parts.transform.base import Transform
from linbp.errors import RecipeError
from linbp.randomness import Draws
from linbp.registry import part, typed_name
from linbp.validation import number, one_of, whole

__all__ = ["Kernel", "TranslationInvariant"]

Kernel = Literal["gaussian", "uniform", "linear"]
LEAST = 1e-6
"""Share of the weight beside the middle below which a kernel does nothing."""
REACH = 3
"""Standard deviations from the middle of a Gaussian kernel to its outermost weight, unless sigma is given."""


@part("transform", "ti")
class TranslationInvariant(Transform):
    """Translation invariance: the gradient at the image is convolved with a kernel, each channel for itself.

        g <- W * g,   W_ij = w_i w_j / (sum_k w_k)^2,   i, j = -r ... r,   r = (size - 1) / 2
        gaussian: w_i = exp(-i^2 / (2 sigma^2))      uniform: w_i = 1      linear: w_i = 1 - |i| / (r + 1)

    That stands for the mean of the gradients of shifted copies of the image, if the network is invariant to shifts.
    The weights sum to 1; the gradient has its size before and after, and counts as zero outside the image, so images
    may be smaller than the kernel. What is convolved is the whole gradient with respect to the image: behind the other
    transforms, of every copy that they make, and before the estimator and the update use it.

    Dong et al.: Evading Defenses to Transferable Adversarial Examples by Translation-Invariant Attacks, CVPR 2019,
    arXiv 1904.02884: Gaussian, 15 x 15. What its code (dongyp13/Translation-Invariant-Attacks) and those after it call
    sigma 3 is a kernel that reaches 3 standard deviations from its middle: they weigh with the normal density at `size`
    points from -3 to 3. In pixels the standard deviation is r / 3, 2.33 for size 15; that is the default here.
    `sigma=3` is a standard deviation of 3 pixels. The linear kernel is the paper's; TransferAttack's code divides |i|
    by size^2 instead, which makes it almost uniform.

    Args:
        size: of the kernel, in pixels: an odd number of at least 3.
        sigma: standard deviation of the Gaussian kernel in pixels, above 0; none: a third of its radius r.
        kernel: `gaussian`, `uniform` or `linear`.
    """

    size: int = 15
    sigma: float | None = None
    kernel: Kernel = "gaussian"

    at_image: ClassVar[bool] = True

    def __post_init__(self) -> None:
        whole(self, "size", least=3)
        one_of(self, "kernel", ("gaussian", "uniform", "linear"))
        if self.size % 2 == 0:
            raise RecipeError(
                f"{typed_name(self)}(size={self.size}) would shift the gradient: an even kernel has no middle.",
                f"Take {self.size - 1} or {self.size + 1}.",
            )
        if self.sigma is not None:
            number(self, "sigma", least=1e-9)
            if self.kernel != "gaussian":
                raise RecipeError(
                    f"sigma would have no effect on {typed_name(self)}(kernel={self.kernel}).",
                    "Leave sigma out, or take gaussian.",
                )
            if float(self.weights().max()) > 1 - LEAST:
                raise RecipeError(
                    f"{typed_name(self)}(sigma={self.sigma:g}) would have no effect: all the weight is on the "
                    "middle pixel.",
                    "Give a standard deviation of at least half a pixel, or leave it out.",
                )

    def weights(self) -> torch.Tensor:
        """The kernel along one axis, (size,) in float64, of sum 1; the kernel is the outer product with itself."""
        radius = self.size // 2
        place = torch.arange(-radius, radius + 1, dtype=torch.float64)
        if self.kernel == "gaussian":
            weights = torch.exp(-((place / (self.sigma or radius / REACH)) ** 2) / 2)
        elif self.kernel == "linear":
            weights = 1 - place.abs() / (radius + 1)
        else:
            weights = torch.ones_like(place)
        return weights / weights.sum()

    def apply(self, images: torch.Tensor, context: Context, draws: Draws, copy: int) -> torch.Tensor:
        """The images as they are; the gradient that comes back through them is convolved."""
        result: torch.Tensor = _Smooth.apply(images, self.weights().tolist())
        return result


class _Smooth(torch.autograd.Function):
    """The identity, with a convolved gradient."""

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, weights: list[float]) -> torch.Tensor:
        ctx.weights = weights
        return images.view_as(images)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _along(_along(gradients[0], ctx.weights, -2), ctx.weights, -1), None


def _along(gradient: torch.Tensor, weights: list[float], axis: int) -> torch.Tensor:
    """Convolved along the height (-2) or the width (-1).

    A sum of shifted copies: on a CPU three times as fast as torch's convolutions with one channel a group, and its
    last digits depend neither on the batch nor on the device's precision for convolutions.
    """
    radius, length = len(weights) // 2, gradient.shape[axis]
    around = (0, 0, radius, radius) if axis == -2 else (radius, radius)
    padded = functional.pad(gradient, around)
    total = padded.narrow(axis, 0, length) * weights[0]
    for shift, weight in enumerate(weights[1:], 1):
        total.add_(padded.narrow(axis, shift, length), alpha=weight)
    return total
