"""PatchOut: in every step only some patches of the change count."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch

from linbp.attack.context import Context
from linbp.attack.parts.transform.base import Transform
from linbp.errors import RecipeError
from linbp.randomness import Draws
from linbp.registry import part, typed_name
from linbp.validation import number, whole

__all__ = ["PatchOut", "patch_mask"]


@part("transform", "patchout")
class PatchOut(Transform):
    """PatchOut: the gradient is taken where only some patches of the image are changed, drawn anew at every step.

        g = d/dx J(x0 + M (x - x0)),    M = 1 in round(share x patches) patches, drawn without repetition, else 0

    with x0 the clean image, so that the gradient is zero in the other patches. Patches that reach beyond the image's
    lower or right edge are cut. Drawn for each image and step. Wei et al.: Towards Transferable Adversarial Attacks on
    Vision Transformers, AAAI 2022, arXiv 2109.04176: 130 of 196 patches of 16 x 16 pixels, with PNA (`pna-patchout`).
    There the step's number is the seed, so that all images and runs have the same patches. It costs nothing.

    Args:
        patch: side of a patch in pixels, at least 1.
        share: of the patches that count, above 0 and below 1.
    """

    patch: int = 16
    share: float = 130 / 196

    keeps_clean: ClassVar[bool] = True

    def __post_init__(self) -> None:
        whole(self, "patch", least=1)
        number(self, "share", least=1e-9, most=1)
        if self.share == 1:
            raise RecipeError(f"{typed_name(self)}(share=1) would have no effect.", "Give a share below 1.")

    def apply(self, images: torch.Tensor, context: Context, draws: Draws, copy: int) -> torch.Tensor:
        """The images, changed in some patches only."""
        clean = context.budget.clean
        down, across = (math.ceil(side / self.patch) for side in images.shape[-2:])
        kept = max(round(self.share * down * across), 1)
        if kept == down * across:
            raise RecipeError(
                f"{typed_name(self)}(patch={self.patch}) would have no effect: {down * across} patches on images of "
                f"{images.shape[-2]} x {images.shape[-1]} pixels, and all of them count.",
                "Give a smaller patch.",
            )
        masks = [
            patch_mask(_drawn(down, across, kept, draw), self.patch, image)
            for image, draw in zip(images, draws.generators("patchout"), strict=True)
        ]
        return clean + torch.stack(masks) * (images - clean)


def patch_mask(kept: torch.Tensor, patch: int, image: torch.Tensor) -> torch.Tensor:
    """A mask (1, H, W), in the image's dtype, of patches (rows, columns) that are 1 or 0."""
    height, width = image.shape[-2:]
    mask = kept.repeat_interleave(patch, 0)[:height].repeat_interleave(patch, 1)[:, :width]
    return mask[None].to(image)


def _drawn(down: int, across: int, kept: int, draw: np.random.Generator) -> torch.Tensor:
    chosen = torch.zeros(down * across)
    chosen[torch.from_numpy(draw.choice(down * across, size=kept, replace=False))] = 1
    return chosen.view(down, across)
