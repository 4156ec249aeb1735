"""SSA: copies whose spectrum is shaken."""

from __future__ import annotations

import numpy as np
import torch

from linbp.attack.context import Context
from linbp.attack.parts.transform.base import Transform
from linbp.attack.parts.transform.cosine import cosine_transform, inverse_cosine_transform
from linbp.errors import RecipeError
from linbp.randomness import Draws
from linbp.registry import part, typed_name
from linbp.validation import number, one_of, whole

__all__ = ["SpectrumSimulation", "shaken"]


@part("transform", "ssa")
class SpectrumSimulation(Transform):
    """Spectrum simulation: the mean gradient at copies with noise, whose cosine spectrum is multiplied at random.

        x' = DCT^-1(DCT(x + xi) M),    xi ~ N(0, (sigma eps)^2),    M ~ U(1 - rho, 1 + rho)

    for each value and each coefficient of each channel, both drawn for each copy, image and step. Nothing is clipped.
    In L2, eps over the square root of the number of values takes the place of eps. Long et al.: Frequency Domain Model
    Augmentation for Adversarial Attack, ECCV 2022, arXiv 2207.05382: 20 copies, rho 0.5, sigma 16/255, which is eps
    there. Each step takes `copies` gradients.

    The authors' code and TransferAttack's take the gradient at x' and use it at x, as here by default. `through=true`
    is the gradient of the formula, DCT^-1(M DCT(g(x'))). The authors' script has no momentum, TransferAttack's has.

    Args:
        copies: how many, at least 1.
        rho: how far M is from 1 at most, at least 0.
        sigma: standard deviation of the noise in multiples of eps, at least 0.
        through: whether the gradient goes back through the transform.
    """

    copies: int = 20
    rho: float = 0.5
    sigma: float = 1.0
    through: bool = False

    def __post_init__(self) -> None:
        whole(self, "copies", least=1)
        number(self, "rho", least=0)
        number(self, "sigma", least=0)
        one_of(self, "through", (True, False))
        if self.rho == self.sigma == 0:
            raise RecipeError(
                f"{typed_name(self)}(rho=0, sigma=0) would have no effect.",
                "Give one of them above 0.",
            )

    def apply(self, images: torch.Tensor, context: Context, draws: Draws, copy: int) -> torch.Tensor:
        """The copies of that number."""
        deviations = context.budget.radius_of_values * self.sigma
        rows = [
            self._one(image, deviation, draw)
            for image, deviation, draw in zip(images, deviations, draws.generators(f"ssa {copy}"), strict=True)
        ]
        return torch.stack(rows)

    def _one(self, image: torch.Tensor, deviation: torch.Tensor, draw: np.random.Generator) -> torch.Tensor:
        shape = tuple(image.shape)
        noise = torch.from_numpy(draw.standard_normal(shape)).to(image)
        mask = torch.from_numpy(draw.uniform(1 - self.rho, 1 + self.rho, shape)).to(image)
        changed = shaken(image, noise * deviation, mask)
        return changed if self.through else image + (changed - image).detach()


def shaken(image: torch.Tensor, noise: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The image (C, H, W) plus noise, each coefficient of its cosine spectrum times the mask's; all of one shape."""
    return inverse_cosine_transform(cosine_transform(image + noise) * mask)
