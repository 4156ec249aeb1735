"""How a network of the zoo is trained."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, get_args

from linbp.errors import RecipeError
from linbp.validation import check_range
from linbp.zoo.architectures import Activation, find_architecture

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
        unshifted: share of the epochs, the last ones, in which images are not shifted, in [0, 1]: the network then fits
            the training images closely.
        cutmix: share of the steps in which a rectangle of each image comes from another one (Yun et al., ICCV 2019,
            arXiv 1905.04899).
        average: epochs over which weights and statistics are averaged, exponentially; the average is what is measured
            and kept.
        precision: `full` is float32; `mixed` computes in bfloat16 where that is safe, and keeps weights in float32.
        seed: of first weights, order, shifts and mirroring.
        activation: `relu` or `gelu` in the place of every activation; None leaves each network its own.

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
    unshifted: float = 0.0
    cutmix: float = 0.0
    average: float = 1.0
    precision: Precision = "full"
    seed: int = 0
    activation: Activation | None = None

    def __post_init__(self) -> None:
        find_architecture(self.architecture)
        for name, kind in (("optimizer", Optimizer), ("precision", Precision), ("activation", Activation)):
            found = getattr(self, name)
            if found not in get_args(kind) and (name, found) != ("activation", None):
                words = " or ".join(get_args(kind))
                raise RecipeError(f"There is no {name} {getattr(self, name)!r} here.", f"Use {words}.")
        check_range("width", self.width, above=0, most=16)
        check_range("epochs", self.epochs, least=1, most=100_000, whole=True)
        check_range("batch_size", self.batch_size, least=2, whole=True)
        check_range("learning_rate", self.learning_rate, above=0)
        check_range("warm_up", self.warm_up, least=0, below=1)
        check_range("weight_decay", self.weight_decay, least=0)
        check_range("label_smoothing", self.label_smoothing, least=0, below=1)
        check_range("crop", self.crop, least=0, most=31, whole=True)
        check_range("unshifted share", self.unshifted, least=0, most=1)
        check_range("cutmix", self.cutmix, least=0, most=1)
        check_range("average", self.average, least=0)
        check_range("seed", self.seed, whole=True)

    def crop_in(self, epoch: int) -> int:
        """How far images are shifted at most in an epoch, counted from 0."""
        return self.crop if epoch < self.epochs - self.unshifted_epochs else 0

    @property
    def unshifted_epochs(self) -> int:
        """How many of the epochs are not shifted; halves count as whole."""
        return math.floor(self.unshifted * self.epochs + 0.5)

    @property
    def highest_rate(self) -> float:
        """The highest learning rate for this batch size."""
        ratio = self.batch_size / REFERENCE_BATCH
        return self.learning_rate * (ratio if self.optimizer == "sgd" else math.sqrt(ratio))
