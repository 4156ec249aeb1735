"""Random resizing and padding."""

from __future__ import annotations

import torch
from torch.nn import functional

from linbp.data.preprocessing import resized
from linbp.errors import ModelError
from linbp.models.defences.base import Ask, Defence, Ids, mean_answer
from linbp.randomness import generator
from linbp.registry import part
from linbp.validation import number, whole

__all__ = ["ResizePad"]


@part("defence", "resize-pad")
class ResizePad(Defence):
    """Random resizing and padding: each image is enlarged to a random size and padded with zeros, at a random place, to
    the largest one.

    With height H, the random height is a whole number from H up to, not including, floor(scale H); the width keeps the
    proportion. The network's own resizing brings the result to its size, where it has another. Xie et al.: Mitigating
    Adversarial Effects Through Randomization, ICLR 2018, arXiv 1711.01991: 299 to 330 of 331 pixels, nearest neighbour.

    Args:
        scale: largest size over the image's own, above 1.
        draws: how many such copies are asked about; their probabilities are averaged.
        seed: of what is drawn.
    """

    scale: float = 331 / 299
    draws: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        number(self, "scale", least=1.0, most=4.0)
        whole(self, "draws", least=1)
        whole(self, "seed", least=0)

    @property
    def copies(self) -> int:
        """How many padded copies are asked about."""
        return self.draws

    def answer(self, images: torch.Tensor, ids: Ids, ask: Ask) -> torch.Tensor:
        """The scores of one copy, or the logarithms of the mean probabilities of several."""
        if self.draws == 1:
            return super().answer(images, ids, ask)
        copies = [tuple(f"{image_id}/{copy}" for image_id in ids) for copy in range(self.draws)]
        return mean_answer(ask(self.apply(images, own), own) for own in copies)

    def apply(self, images: torch.Tensor, ids: Ids) -> torch.Tensor:
        """The padded images."""
        height, width = images.shape[-2:]
        tallest, widest = int(height * self.scale), int(width * self.scale)
        if tallest <= height:
            raise ModelError(
                f"resize-pad(scale={self.scale:g}) would have no effect on images {height} pixels high.",
                "Give a larger scale.",
            )
        rows = []
        for image, image_id in zip(images, ids, strict=True):
            draw = generator(self.seed, image_id, 0, "defence.resize-pad")
            new_height = int(draw.integers(height, tallest))
            new_width = min(widest, max(1, round(width * new_height / height)))
            top, left = int(draw.integers(tallest - new_height + 1)), int(draw.integers(widest - new_width + 1))
            sides = (left, widest - new_width - left, top, tallest - new_height - top)
            rows.append(functional.pad(resized(image[None], (new_height, new_width), "nearest"), sides))
        return torch.cat(rows)
