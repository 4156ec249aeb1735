"""DeCoWA: gradients at copies that are warped so that the warp hurts the attack."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch.nn import functional

from linbp.attack.context import Context
from linbp.attack.gradient_oracle import GradientOracle
from linbp.attack.parts.estimator.base import Estimate, Estimator
from linbp.randomness import Draws
from linbp.registry import part
from linbp.validation import number, whole

__all__ = ["DeformationWarp", "warped"]

SMALL = 1e-9
"""Keeps the logarithm of the spline's kernel finite at 0."""


@part("estimator", "decowa")
class DeformationWarp(Estimator):
    """Deformation-constrained warping: the mean gradient at warped copies, each warp first moved against the attack.

        g = mean_k d/dx J(W_(s'_k)(x)),    s'_k = s_k - step dJ(W_(s_k)(x))/ds,    s_k ~ U(-reach, reach)^2

    W_s is the thin-plate spline with kernel r^2 log r^2 that holds eight points on the edge of [-1, 1]^2 and moves the
    middle by s; the image is sampled at W_s of its pixels' middles, bilinear, black outside. s' is held fixed when the
    gradient is pulled back through the warp. Drawn for each warp, image and step. Lin et al.: Boosting Adversarial
    Transferability across Model Genus by Deformation-Constrained Warping, AAAI 2024, arXiv 2402.03951: 20 warps, step
    0.01, with momentum (`decowa-mifgsm`). Each step takes two gradients for each warp.

    Transforms of the recipe act on the warped image, `ti` too. In the public code one s serves a batch, and dJ/ds is of
    its mean objective; its grid reaches from edge to edge where pixels' middles are meant, which enlarges the field by
    L / (L - 1).

    Args:
        warps: how many, at least 1.
        step: of s, at least 0.
        reach: how far the middle is moved along each axis, in half sides, above 0.
    """

    warps: int = 20
    step: float = 0.01
    reach: float = 1.0

    excludes: ClassVar[Mapping[str, str]] = {
        "tap": "tap compares the image with the clean one pixel by pixel, and decowa warps it"
    }

    def __post_init__(self) -> None:
        whole(self, "warps", least=1)
        number(self, "step", least=0)
        number(self, "reach", least=1e-9)

    def gradients_per_step(self, members: int) -> int:
        """Two for each warp, of every surrogate; one where s does not move."""
        return (2 if self.step else 1) * self.warps * members

    def bind(self, context: Context) -> Estimate:
        """The mean gradient at the warped copies."""

        def estimate(oracle: GradientOracle, images: torch.Tensor) -> torch.Tensor:
            total = torch.zeros_like(images)
            for index in range(self.warps):
                total += self._through_warp(oracle, images, f"warp {index}")
            return total / self.warps

        return estimate

    def _through_warp(self, oracle: GradientOracle, images: torch.Tensor, sample: str) -> torch.Tensor:
        shifts = _drawn(oracle.draws.under(sample), self.reach, images)
        if self.step:
            at_shifts = self._pulled_back(oracle, images, shifts, sample, to_shifts=True)
            shifts = shifts - self.step * at_shifts
        return self._pulled_back(oracle, images, shifts, sample, to_shifts=False)

    def _pulled_back(
        self, oracle: GradientOracle, images: torch.Tensor, shifts: torch.Tensor, sample: str, to_shifts: bool
    ) -> torch.Tensor:
        """The objective's gradient at the shifts, or at the images."""
        with torch.enable_grad():
            start, moved = images.detach().requires_grad_(), shifts.detach().requires_grad_()
            picture = warped(start, moved)
        found = oracle.gradient(picture.detach(), sample)
        (gradient,) = torch.autograd.grad(picture, moved if to_shifts else start, found)
        return gradient


def warped(images: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Images (N, C, H, W), sampled where the spline leads that moves the middle by shifts (N, 2): right and down.

    A spline is linear in where its points go and keeps an affine map as it is, so it is p + s b(p), with b the spline
    that is 1 at the middle and 0 at the other points.
    """
    points = grid_points(images.shape[-2], images.shape[-1])
    still, bump = (value.to(images) for value in (points, _bump(points)))
    rows = [
        functional.grid_sample(
            image[None], (still + shift * bump)[None], mode="bilinear", padding_mode="zeros", align_corners=False
        )
        for image, shift in zip(images, shifts, strict=True)
    ]
    return torch.cat(rows)


def grid_points(height: int, width: int) -> torch.Tensor:
    """The middles of the pixels (H, W, 2), right and down, of a picture that reaches from -1 to 1; float64."""
    down, across = ((torch.arange(side, dtype=torch.float64) * 2 + 1) / side - 1 for side in (height, width))
    return torch.stack(torch.meshgrid(down, across, indexing="ij")[::-1], dim=-1)


def _bump(points: torch.Tensor) -> torch.Tensor:
    """The spline that is 1 at the middle and 0 at the eight points around it, at points (H, W, 2): (H, W, 1)."""
    fixed = _fixed_points()
    weights, affine = _spline_of_middle()
    kernel = _kernel((points[..., None, :] - fixed).square().sum(-1))
    return (kernel @ weights + affine[0] + points @ affine[1:])[..., None]


@functools.cache
def _spline_of_middle() -> tuple[torch.Tensor, torch.Tensor]:
    """Weights of the kernel at the nine points, and the affine part (constant, right, down)."""
    fixed = _fixed_points()
    affine = torch.cat([torch.ones(9, 1, dtype=torch.float64), fixed], dim=1)
    kernel = _kernel((fixed[:, None] - fixed).square().sum(-1))
    zeros = torch.zeros(3, 3, dtype=torch.float64)
    system = torch.cat([torch.cat([kernel, affine], 1), torch.cat([affine.t(), zeros], 1)])
    wanted = torch.zeros(12, dtype=torch.float64)
    wanted[4] = 1
    solved = torch.linalg.solve(system, wanted)
    return solved[:9], solved[9:]


def _kernel(squared: torch.Tensor) -> torch.Tensor:
    return squared * (squared + SMALL).log()


def _drawn(draws: Draws, reach: float, images: torch.Tensor) -> torch.Tensor:
    rows = [torch.from_numpy(draw.uniform(-reach, reach, 2)) for draw in draws.generators("decowa")]
    return torch.stack(rows).to(images)


def _fixed_points() -> torch.Tensor:
    """The nine control points (9, 2), row by row."""
    return torch.tensor([[x, y] for y in (-1.0, 0.0, 1.0) for x in (-1.0, 0.0, 1.0)], dtype=torch.float64)
