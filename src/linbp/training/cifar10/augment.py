"""What an epoch draws: the order of the images, how each is shifted and mirrored, and mixed rectangles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from linbp.randomness import generator
from linbp.zoo.settings import Training

__all__ = ["Box", "Epoch"]


@dataclass(frozen=True)
class Box:
    """A rectangle of rows [top, bottom) and columns [left, right), and its share of the image."""

    top: int
    bottom: int
    left: int
    right: int
    share: float


class Epoch:
    """The batches of one epoch, cut and mirrored on the device that holds the images.

    Everything is drawn from the seed and the epoch's number alone, so that a run which goes on finds what the run that
    was killed had. Mirroring alternates: an image that is mirrored in one epoch is not in the next (Jordan, 94% on
    CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv 2404.00498).

    Args:
        images: uint8 (N, H, W, 3).
        labels: int64 (N,), on the same device.
        settings: of the training.
        number: of the epoch, from 0.
    """

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, settings: Training, number: int) -> None:
        self.images, self.labels, self.settings = images, labels, settings
        count, device = len(images), images.device
        order = generator(settings.seed, "", number, "zoo.order").permutation(count)
        crop = settings.crop_in(number)
        shifts = generator(settings.seed, "", number, "zoo.crop").integers(0, 2 * crop + 1, (count, 2))
        first = generator(settings.seed, "", 0, "zoo.mirror").integers(0, 2, count)
        self.order = torch.from_numpy(order).to(device)
        self.shifts = (torch.from_numpy(shifts) - crop).to(device)
        self.mirrored = torch.from_numpy((first + number) % 2 == 1).to(device)
        self.boxes = generator(settings.seed, "", number, "zoo.cutmix").random((len(self), 4)).tolist()

    def __len__(self) -> int:
        """How many whole batches there are."""
        return len(self.images) // self.settings.batch_size

    def batch(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Images uint8 (B, 3, H, W), channels last in memory, and labels (B,), of one batch, from 0."""
        size = self.settings.batch_size
        rows = self.order[number * size : (number + 1) * size]
        high, wide = self.images.shape[1:3]
        places = torch.arange(high, device=rows.device), torch.arange(wide, device=rows.device)
        vertical = _reflected(places[0] + self.shifts[rows, :1], high)
        horizontal = _reflected(places[1] + self.shifts[rows, 1:], wide)
        horizontal = torch.where(self.mirrored[rows, None], horizontal.flip(1), horizontal)
        # One look-up for shift, mirroring and order; it leaves the channels last.
        cut = self.images[rows[:, None, None], vertical[:, :, None], horizontal[:, None, :]]
        return cut.permute(0, 3, 1, 2), self.labels[rows]

    def box(self, number: int) -> Box | None:
        """The rectangle that CutMix takes from other images in that batch; None: not in this batch.

        Its share of the image is uniform in [0, 1], its centre uniform over the image; what sticks out is cut off.
        """
        coin, share, *centre = self.boxes[number]
        if coin >= self.settings.cutmix:
            return None
        high, wide = self.images.shape[1:3]
        (top, bottom), (left, right) = _span(high, centre[0], share), _span(wide, centre[1], share)
        return Box(top, bottom, left, right, (bottom - top) * (right - left) / (high * wide))


def _span(side: int, centre: float, share: float) -> tuple[int, int]:
    """Where an edge of `side` times the root of the share starts and ends; all on the scale of the image's side."""
    half = 0.5 * side * math.sqrt(share)
    return max(0, round(centre * side - half)), min(side, round(centre * side + half))


def _reflected(places: torch.Tensor, size: int) -> torch.Tensor:
    """Places outside [0, size) mirrored into it, the edge itself not repeated."""
    last = size - 1
    return last - (last - places.abs()).abs()
