"""The centre crop of many pipelines, which is no defence."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from linbp.errors import ModelError
from linbp.models.centre_crop import CentreCrop, read_crop
from linbp.models.defences.base import Defence, Ids
from linbp.registry import part

__all__ = ["Crop"]


@part("defence", "crop")
class Crop(Defence):
    """Centre crop: no defence, but what many pipelines do. Directly before a network, it becomes the network's own
    preprocessing, with gradients through it; then a surrogate may have it too.

    `crop | NAME` is the crop of those who trained the weights, where torchvision, timm or the hub says it. Values are
    those of torchvision's `Resize(antialias=True)` and `CenterCrop` on tensors.

    Args:
        resize: the shorter side before the crop, such as 256, or [height, width]; none: images are cropped as they are.
        crop: side, or [height, width], of the middle that is kept; by default what the network takes.
    """

    resize: int | Sequence[int] | None = None
    crop: int | Sequence[int] | None = None

    def __post_init__(self) -> None:
        for name in ("resize", "crop"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        read_crop(None, self.resize, self.crop if self.crop is not None or self.resize is None else self.resize)

    def of(self, size: tuple[int, int] | None, published: CentreCrop | None, name: str) -> CentreCrop:
        """The crop before a network.

        Args:
            size: (height, width) that it takes; None: any.
            published: the crop of those who trained it, where it is known.
            name: what messages call it.

        Raises:
            ModelError: the network takes another size; or nothing says how much is cropped.
        """
        found = read_crop(size, self.resize, self.crop)
        if found is None:
            found = published
        if found is None:
            raise ModelError(
                f"How {name} resizes and crops is not known.",
                "Say it: crop(256) | NAME resizes the shorter side to 256.",
            )
        return found

    def apply(self, images: torch.Tensor, ids: Ids) -> torch.Tensor:
        """The middle of the images, resized bilinearly."""
        return self.of(None, None, "what stands behind crop").apply(images, "bilinear")
