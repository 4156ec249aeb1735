"""Images whose class is their strongest colour, a victim that knows three colours, and a surrogate of other classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from linbp import Model
from linbp.data.images import Pixels, write_png

__all__ = ["COLOURS", "COUNT", "colours", "image", "surrogate", "write_photos"]

COLOURS = ("rot", "grün", "Himmel blau")
COUNT = 24


class Colour(nn.Module):
    """Its class is the channel with the largest mean."""

    def __init__(self, order: Sequence[int] = (0, 1, 2)) -> None:
        super().__init__()
        self.order = list(order)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 20 * x.mean((2, 3))[:, self.order]


def colours(order: Sequence[int] = (0, 1, 2), names: Sequence[str] = (), name: str = "colours") -> Model:
    model = Model(Colour(order), input_size=8, name=name)
    model.class_names = tuple(names)
    return model


def surrogate(classes: int = 6) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, classes)]
        return Model(nn.Sequential(*layers).double(), input_size=8, name="surrogate")


def image(number: int) -> Pixels:
    pixels = np.random.default_rng(number).integers(80, 100, (8, 8, 3), dtype=np.uint8)
    pixels[..., number % 3] += 5
    return pixels


def write_photos(folder: Path) -> None:
    """The images in folders that are named by the victim's classes."""
    for number in range(COUNT):
        place = folder / COLOURS[number % 3].replace(" ", "_")
        place.mkdir(parents=True, exist_ok=True)
        write_png(place / f"{number}.png", image(number))
