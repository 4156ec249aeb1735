"""DEM: one objective of the mean logits of copies of several sizes."""

from __future__ import annotations

from typing import ClassVar

import torch

from linbp.attack.context import Context
from linbp.attack.parts.transform.base import Transform
from linbp.attack.parts.transform.diverse_inputs import Interpolation, padded_at_random
from linbp.errors import RecipeError
from linbp.randomness import Draws
from linbp.registry import part, typed_name
from linbp.validation import one_of

__all__ = ["DiversityEnsemble"]

SCALES = (340 / 299, 380 / 299, 420 / 299, 460 / 299, 500 / 299)


@part("transform", "dem")
class DiversityEnsemble(Transform):
    """Diversity ensemble: the gradient of the objective of the mean logits of several diverse inputs.

        g = d/dx J(1/K sum_k z(T_k(x)))

    T_k is `di` with probability 1 and the k-th scale: size and place are drawn for each copy, image and step. Zou et
    al.: Improving the Transferability of Adversarial Examples with Resized-Diverse-Inputs, Diversity-Ensemble and
    Region Fitting, ECCV 2020, arXiv 2112.06011: largest sizes 340, 380, 420, 460, 500 for images of 299, nearest
    neighbour, with TI and momentum (`dem-mifgsm`). Each step takes one gradient for each scale, and one more forward
    pass for the logits of each.

    With an objective on feature maps alone it is the mean of the copies' gradients: there are no logits to average.
    TransferAttack's code resizes bilinearly, always takes steps of length eps ("region fitting", which the authors'
    code has for several networks; `--step-size` here), and has no TI.

    Args:
        scales: largest size over the image's own, one for each copy, above 1.
        interpolation: `nearest` or `bilinear`.
    """

    scales: tuple[float, ...] = SCALES
    interpolation: Interpolation = "nearest"

    averages_logits: ClassVar[bool] = True

    def __post_init__(self) -> None:
        one_of(self, "interpolation", ("nearest", "bilinear"))
        given = self.scales
        if not isinstance(given, list | tuple) or not given or not all(map(_is_scale, given)):
            raise RecipeError(
                f"{typed_name(self)}(scales={given}) gives no scales.", "Give numbers above 1, such as [1.1, 1.3]."
            )
        object.__setattr__(self, "scales", tuple(map(float, given)))

    @property
    def copies(self) -> int:
        """One for each scale."""
        return len(self.scales)

    def apply(self, images: torch.Tensor, context: Context, draws: Draws, copy: int) -> torch.Tensor:
        """The images at one scale."""
        height, scale = images.shape[-2], self.scales[copy]
        if int(height * scale) <= height:
            raise RecipeError(
                f"{typed_name(self)}: a scale of {scale:g} would have no effect on images {height} pixels high.",
                "Give larger scales.",
            )
        rows = [
            padded_at_random(
                image[None], int(draw.integers(height, int(height * scale))), scale, draw, self.interpolation
            )
            for image, draw in zip(images, draws.generators(f"dem {copy}"), strict=True)
        ]
        return torch.cat(rows)


def _is_scale(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 1 < value <= 4
