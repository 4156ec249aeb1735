"""FIA, NAA and BFA against slow second implementations, image by image: the tail's gradient is written out.

They share nothing with the package but the draws, whose keys are part of what is promised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from eager import (
    COUNT,
    EPS,
    STEP,
    Array,
    Setting,
    climb,
    craft,
    cross_entropy_gradient,
    look,
    make_setting,
    one,
    pull_back,
    softmax,
)
from tiny_networks import CLASSES, Residual
from torch import nn
from torch.nn import functional

from linbp.attack import Recipe
from linbp.errors import RecipeError
from linbp.randomness import generator

AT = "blocks.0"
Score = Callable[[Array], Array]
"""From an image's logits, the gradient of a number with respect to them."""
Points = Callable[[Setting, int], Iterator[tuple[Array, Score]]]
"""The images at which a feature map's gradients are taken, and of what."""


def back(layer: nn.Conv2d, norm: nn.BatchNorm2d, gradient: torch.Tensor) -> torch.Tensor:
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()  # type: ignore[operator]
    return functional.conv_transpose2d(gradient * scale[:, None, None], layer.weight, padding=1)


def at_map(net: Residual, image: Array, score: Score, leak: float = 0.0) -> Array:
    """The gradient of a score at the first block's output, back through the second one by its masks."""
    block = net.blocks[1]
    shown = look(net, image, [AT])
    with torch.no_grad():
        value = torch.from_numpy(shown.features[AT])[None]
        inner = block.bn1(block.conv1(value))
        after = block.bn2(block.conv2(inner.clamp(min=0))) + value
        upstream = torch.from_numpy(score(shown.logits))[None] @ net.head.weight
        gradient = upstream.view(value.shape) * (after > 0)
        passed = torch.where(inner > 0, 1.0, leak) * back(block.conv2, block.bn2, gradient)
        return (gradient + back(block.conv1, block.bn1, passed))[0].numpy()


def fia(samples: int, keep: float) -> Points:
    def points(setting: Setting, row: int) -> Iterator[tuple[Array, Score]]:
        clean, label = setting.clean[row], setting.labels[row]
        for k in range(samples):
            kept = generator(9, str(row), 0, f"fia {k}").random(clean.shape) < keep
            yield clean * kept, lambda logits: one(label, CLASSES)

    return points


def naa(samples: int, noise: float) -> Points:
    def points(setting: Setting, row: int) -> Iterator[tuple[Array, Score]]:
        clean, label = setting.clean[row], setting.labels[row]

        def of_probability(logits: Array) -> Array:
            p = softmax(logits)
            return p[label] * (one(label, CLASSES) - p)

        for k in range(samples):
            shaken = clean + noise * generator(9, str(row), 0, f"naa {k}").standard_normal(clean.shape)
            yield shaken * (samples - k) / samples, of_probability

    return points


def bfa(samples: int, radius: float) -> Points:
    def points(setting: Setting, row: int) -> Iterator[tuple[Array, Score]]:
        net, clean, label = setting.net, setting.clean[row], setting.labels[row]
        fitted = clean
        for _ in range(samples):
            away = pull_back(net, fitted, {"logits": cross_entropy_gradient(look(net, fitted).logits, label, None)})
            fitted = clean + radius * away / np.sqrt((away**2).mean())
            yield fitted, lambda logits: one(label, CLASSES)

    return points


ROWS: list[tuple[str, Points, float]] = [
    (f"fia-mifgsm(at={AT})", fia(30, 0.7), 0.0),
    (f"fia(at={AT}, samples=2, keep=0.3) + mi", fia(2, 0.3), 0.0),
    (f"fia(at={AT}, samples=2) + leaky-linbp(start=blocks.1, leak=0.3) + mi", fia(2, 0.7), 0.3),
    (f"naa-mifgsm(at={AT})", naa(30, 0.1), 0.0),
    (f"naa(at={AT}, samples=3, noise=0) + mi", naa(3, 0.0), 0.0),
    (f"naa(at={AT}, samples=2, noise=0.3) + leaky-linbp(start=blocks.1, leak=1) + mi", naa(2, 0.3), 1.0),
    (f"bfa-mifgsm(at={AT}, samples=4)", bfa(4, 28 / (299 * 3**0.5)), 0.0),
    (f"bfa(at={AT}, samples=2, radius=0.4) + mi", bfa(2, 0.4), 0.0),
]


@pytest.fixture(scope="module")
def setting() -> Setting:
    return make_setting()


@pytest.mark.parametrize(("text", "points", "leak"), ROWS, ids=[row[0] for row in ROWS])
def test_three_steps(setting: Setting, text: str, points: Points, leak: float) -> None:
    found = craft(setting, text, 3)
    for row in range(COUNT):
        total = sum(at_map(setting.net, image, score, leak) for image, score in points(setting, row))
        assert isinstance(total, np.ndarray)
        weights = -total / np.sqrt((total**2).sum())

        def gradient(at: Array, weights: Array = weights) -> Array:
            return pull_back(setting.net, at, {AT: weights})

        end = climb(setting.clean[row], gradient, steps=3, step_size=STEP, eps=EPS, momentum=1.0)[-1]
        assert np.array_equal(found[row], np.rint(end * 255))


@pytest.mark.parametrize(
    ("text", "steps", "members", "gradients"),
    [
        ("fia-mifgsm", 10, 1, 40),
        ("naa(samples=5)", 2, 3, 21),
        ("bfa-mifgsm", 10, 1, 70),
        ("bfa(samples=3) + bsr(copies=4)", 2, 1, 14),
        ("fia + vdc", 10, 1, 80),
    ],
)
def test_gradients_are_counted(text: str, steps: int, members: int, gradients: int) -> None:
    assert Recipe.parse(text).gradients(steps, members) == gradients


@pytest.mark.parametrize(
    "text", ["fia(keep=1)", "fia(keep=0)", "fia(samples=0)", "naa(noise=-1)", "naa(samples=0)", "bfa(radius=0)"]
)
def test_values_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        Recipe.parse(text)
