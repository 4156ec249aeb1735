"""Images that an attack could not move, and what a user should know of them."""

from __future__ import annotations

import dataclasses

import torch

__all__ = ["Unmoved", "unmoved_notes"]


@dataclasses.dataclass
class Unmoved:
    """Counts of the images of an attack, batch by batch.

    Attributes:
        images: how many were attacked.
        flat: at how many every gradient of the last stage was zero.
        unchanged: how many adversarial images are their clean images.
    """

    images: int = 0
    flat: int = 0
    unchanged: int = 0

    def add(self, clean: torch.Tensor, adv: torch.Tensor, flat: int) -> None:
        """Count a batch: its clean and adversarial images (N, C, H, W), and at how many the gradient was zero."""
        self.images += len(clean)
        self.flat += flat
        self.unchanged += int((adv == clean).flatten(1).all(1).sum())


def unmoved_notes(images: int, flat: int, unchanged: int) -> list[str]:
    """A note for images whose gradients are all zero, and one for those that are as they were."""
    notes = []
    if flat:
        notes.append(
            f"{flat} of {images} images had a gradient of 0 in every step, so that nothing led the attack there: the "
            "network is more certain than its floats can hold, or no gradient reaches the image. The objectives logit "
            "and margin, a start (random-start) or a network in float64 may help."
        )
    if unchanged:
        why = "the gradient was 0 there" if flat >= unchanged else "rounding to 8 bits took back a small change"
        notes.append(f"{unchanged} adversarial images are their clean images: {why}.")
    return notes
