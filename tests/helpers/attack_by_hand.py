"""One image under attack in numpy: its ball, and gradients through eager modules.

Nothing of the package is used but the draws.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from tiny_networks import Chain, Residual, images_and_labels
from torch import nn
from torch.nn import functional

from linbp.randomness import generator

__all__ = ["BALLS", "COUNT", "SEED", "Attack", "Ball", "Case", "Gradient", "networks"]

COUNT, SEED = 2, 9
Gradient = Callable[[np.ndarray], np.ndarray]
Attack = Callable[["Case", int], np.ndarray]
BALLS = [("linf", 8 / 255, 1.5 / 255), ("l2", 1.3, 0.4)]


def networks() -> list[nn.Module]:
    """Three that differ, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return [made().double().eval() for made in (Residual, Chain, Residual)]


class Ball:
    """The ball around one image, in numpy."""

    def __init__(self, clean: np.ndarray, norm: str, eps: float) -> None:
        self.clean, self.norm, self.eps = clean, norm, eps

    def project(self, image: np.ndarray) -> np.ndarray:
        if self.norm == "linf":
            return np.clip(np.clip(image, self.clean - self.eps, self.clean + self.eps), 0, 1)
        change = image - self.clean
        return np.clip(self.clean + change * min(1, self.eps / max(np.sqrt((change**2).sum()), 1e-300)), 0, 1)

    def direction(self, gradient: np.ndarray) -> np.ndarray:
        return np.sign(gradient) if self.norm == "linf" else gradient / np.sqrt((gradient**2).sum())

    def unit(self, gradient: np.ndarray) -> np.ndarray:
        size = np.abs(gradient).mean() if self.norm == "linf" else np.sqrt((gradient**2).sum())
        return gradient / size

    def noise(self, draw: np.random.Generator, radius: float) -> np.ndarray:
        if self.norm == "linf":
            return (2 * draw.random(self.clean.shape) - 1) * self.eps * radius
        way = draw.standard_normal(self.clean.shape)
        return way / np.sqrt((way**2).sum()) * draw.random() ** (1 / way.size) * self.eps * radius


class Case:
    """One image under attack: its ball, and gradients of the cross-entropy through eager modules."""

    def __init__(self, row: int, norm: str, step: float, eps: float, nets: list[nn.Module]) -> None:
        images, labels = images_and_labels(COUNT)
        self.row, self.label, self.step, self.nets = row, int(labels[row]), step, nets
        self.clean = images[row].numpy().astype(np.float64) / 255
        self.ball = Ball(self.clean, norm, eps)

    def gradient(self, image: np.ndarray, nets: list[nn.Module] | None = None) -> np.ndarray:
        """Of the cross-entropy of the mean of the nets' logits."""
        nets = self.nets if nets is None else nets
        value = torch.from_numpy(image[None].copy()).requires_grad_()
        logits = torch.stack([net((value - 0.5) / 0.25) for net in nets]).mean(0)
        functional.cross_entropy(logits, torch.tensor([self.label])).backward()
        assert value.grad is not None
        return value.grad[0].numpy()

    def draw(self, step: int, purpose: str) -> np.random.Generator:
        return generator(SEED, str(self.row), step, purpose)

    def walk(self, steps: int, direction: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
        """Steps along the directions, each put back into the ball."""
        current = self.clean
        for step in range(steps):
            current = self.ball.project(current + self.step * self.ball.direction(direction(current, step)))
        return current
