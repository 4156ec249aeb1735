"""Test-time augmentation: the mean answer to crops and their mirror images."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from linbp.data.preprocessing import resized
from linbp.errors import RecipeError
from linbp.models.defences.base import Ask, Defence, Ids, mean_answer
from linbp.registry import part
from linbp.validation import number, one_of

__all__ = ["Augmentation"]


@part("defence", "tta")
class Augmentation(Defence):
    """Test-time augmentation: the mean of the probabilities of five crops, of the corners and the middle, and of their
    mirror images; the score is its logarithm.

    Crops are brought to the image's size again, bilinearly. Krizhevsky, Sutskever, Hinton, NeurIPS 2012 (ten crops of
    224 of 256 pixels); against adversarial images Guo et al., ICLR 2018, arXiv 1711.00117 (an ensemble of crops).

    Args:
        crop: the share of each side that a crop keeps, from 0.1 to 1; 1: no crops, the mirror image alone.
        flip: whether mirror images are asked about.
    """

    crop: float = 0.875
    flip: bool = True

    def __post_init__(self) -> None:
        number(self, "crop", least=0.1, most=1.0)
        one_of(self, "flip", (True, False))
        if self.crop == 1 and not self.flip:
            raise RecipeError("tta(crop=1, flip=false) would have no effect.", "Leave it out.")

    @property
    def copies(self) -> int:
        """How many crops and mirror images are asked about, at most."""
        return (5 if self.crop < 1 else 1) * (2 if self.flip else 1)

    def answer(self, images: torch.Tensor, ids: Ids, ask: Ask) -> torch.Tensor:
        """Logarithms of the mean probabilities."""
        views = (
            ask(view, tuple(f"{image_id}/{number}" for image_id in ids))
            for number, view in enumerate(self.views(images))
        )
        return mean_answer(views)

    def views(self, images: torch.Tensor) -> Iterator[torch.Tensor]:
        """The images (N, C, H, W) of each answer: the four corners by rows, the middle, and all of them mirrored."""
        height, width = images.shape[-2:]
        down, across = max(1, round(self.crop * height)), max(1, round(self.crop * width))
        below, right = height - down, width - across
        corners = [(0, 0), (0, right), (below, 0), (below, right), (round(below / 2), round(right / 2))]
        for flipped in (False, True) if self.flip else (False,):
            for top, left in corners if below or right else corners[:1]:
                view = resized(images[..., top : top + down, left : left + across], (height, width), "bilinear")
                yield view.flip(3) if flipped else view
