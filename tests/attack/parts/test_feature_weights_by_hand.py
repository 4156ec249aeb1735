"""FIA, NAA and BFA against slow second implementations, image by image: the tail's gradient is written out.

They share nothing with the package but the draws, whose keys are part of what is promised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
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
from tail_by_hand import MAP, Score, tail_gradient
from tiny_networks import CLASSES

from linbp.attack import Recipe
from linbp.errors import RecipeError
from linbp.randomness import generator

Points = Callable[[Setting, int], Iterator[tuple[Array, Score]]]
"""The images at which a feature map's gradients are taken, and of what."""


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
    (f"fia-mifgsm(at={MAP})", fia(30, 0.7), 0.0),
    (f"fia(at={MAP}, samples=2, keep=0.3) + mi", fia(2, 0.3), 0.0),
    (f"fia(at={MAP}, samples=2) + leaky-linbp(start=blocks.1, leak=0.3) + mi", fia(2, 0.7), 0.3),
    (f"naa-mifgsm(at={MAP})", naa(30, 0.1), 0.0),
    (f"naa(at={MAP}, samples=3, noise=0) + mi", naa(3, 0.0), 0.0),
    (f"naa(at={MAP}, samples=2, noise=0.3) + leaky-linbp(start=blocks.1, leak=1) + mi", naa(2, 0.3), 1.0),
    (f"bfa-mifgsm(at={MAP}, samples=4)", bfa(4, 28 / (299 * 3**0.5)), 0.0),
    (f"bfa(at={MAP}, samples=2, radius=0.4) + mi", bfa(2, 0.4), 0.0),
]


@pytest.fixture(scope="module")
def setting() -> Setting:
    return make_setting()


@pytest.mark.parametrize(("text", "points", "leak"), ROWS, ids=[row[0] for row in ROWS])
def test_three_steps(setting: Setting, text: str, points: Points, leak: float) -> None:
    found = craft(setting, text, 3)
    for row in range(COUNT):
        net = setting.net
        total = sum(
            tail_gradient(net, look(net, image, [MAP]).features[MAP], score, leak)
            for image, score in points(setting, row)
        )
        assert isinstance(total, np.ndarray)
        weights = -total / np.sqrt((total**2).sum())

        def gradient(at: Array, weights: Array = weights) -> Array:
            return pull_back(setting.net, at, {MAP: weights})

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
