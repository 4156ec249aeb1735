"""How a network is trained: settings, and what a step's number decides."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, get_args

from linbp.errors import RecipeError
from linbp.models.cifar10 import find_architecture

__all__ = ["Optimizer", "Precision", "Training"]

Optimizer = Literal["sgd", "adamw"]
Precision = Literal["full", "mixed"]

REFERENCE_BATCH = 128
"""The batch size that learning rates are given for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """Settings of one training; everything in it changes the weights that come out.

    Args:
        architecture: a name from `ARCHITECTURES`.
        width: what its numbers of channels are multiplied with.
        epochs: passes over the training images.
        batch_size: images in a step. The images of an epoch that fill no whole batch are left out of it.
        optimizer: `sgd` (Nesterov's momentum 0.9) or `adamw`.
        learning_rate: the highest one, for batches of 128 images. Other batch sizes B scale it by B / 128 for `sgd`,
            by the square root of that for `adamw`.
        warm_up: share of the steps in which the rate rises from 0, in [0, 1); then it falls to 0, both linearly.
        weight_decay: decoupled: a step multiplies every weight of rank above 1 by 1 - rate x weight_decay, and leaves
            biases and norms alone. With momentum 0.9 it is about ten times what is called weight decay in SGD.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        crop: how far images are shifted at most, in pixels, mirrored at their edges.
        cutmix: share of the steps in which a rectangle of each image comes from another one (Yun et al., ICCV 2019,
            arXiv 1905.04899).
        average: epochs over which weights and statistics are averaged, exponentially; the average is what is measured
            and kept.
        precision: `full` is float32; `mixed` computes in bfloat16 where that is safe, and keeps weights in float32.
        seed: of first weights, order, shifts and mirroring.

    Raises:
        RecipeError: a value that is out of range.
        ModelError: no such architecture.
    """

    architecture: str
    width: float = 1.0
    epochs: int = 30
    batch_size: int = 128
    optimizer: Optimizer = "sgd"
    learning_rate: float = 0.1
    warm_up: float = 0.2
    weight_decay: float = 0.005
    label_smoothing: float = 0.1
    crop: int = 4
    cutmix: float = 0.0
    average: float = 1.0
    precision: Precision = "full"
    seed: int = 0

    def __post_init__(self) -> None:
        find_architecture(self.architecture)
        for name, kind in (("optimizer", Optimizer), ("precision", Precision)):
            if getattr(self, name) not in get_args(kind):
                words = " or ".join(get_args(kind))
                raise RecipeError(f"There is no {name} {getattr(self, name)!r} here.", f"Use {words}.")
        self._check("width", 0, 16, open_below=True)
        self._check("epochs", 1, math.inf, whole=True)
        self._check("batch_size", 2, math.inf, whole=True)
        self._check("learning_rate", 0, math.inf, open_below=True)
        self._check("warm_up", 0, 0.99)
        self._check("weight_decay", 0, math.inf)
        self._check("label_smoothing", 0, 0.99)
        self._check("crop", 0, 31, whole=True)
        self._check("cutmix", 0, 1)
        self._check("average", 0, math.inf)
        self._check("seed", -math.inf, math.inf, whole=True)

    def _check(self, name: str, least: float, most: float, *, whole: bool = False, open_below: bool = False) -> None:
        value: Any = getattr(self, name)
        kind = int if whole else (int, float)
        fits = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
        if not fits or not least <= value <= most or (open_below and value == least):
            bounds = [f"{'above' if open_below else 'of at least'} {least:g}"] if least > -math.inf else []
            bounds += [f"at most {most:g}"] if most < math.inf else []
            words = name.replace("_", " ")
            raise RecipeError(
                f"{'Epochs are' if name == 'epochs' else f'The {words} is'} {value}.",
                f"Give a {'whole ' if whole else ''}number {' and '.join(bounds)}".rstrip() + ".",
            )

    @property
    def highest_rate(self) -> float:
        """The highest learning rate for this batch size."""
        ratio = self.batch_size / REFERENCE_BATCH
        return self.learning_rate * (ratio if self.optimizer == "sgd" else math.sqrt(ratio))

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0, of `steps`."""
        rising = round(self.warm_up * steps)
        if step < rising:
            return self.highest_rate * (step + 1) / rising
        return self.highest_rate * (steps - step) / (steps - rising)
