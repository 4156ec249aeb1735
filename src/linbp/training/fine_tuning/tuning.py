"""How a network is fine-tuned: settings, and the order of the images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

from linbp.errors import RecipeError
from linbp.graph import Position
from linbp.randomness import generator
from linbp.training.optimizer import OptimizerName
from linbp.validation import check_range

__all__ = ["Augmentation", "Tuning", "batches", "held_out", "order"]

Augmentation = Literal["flip", "crop"]

RATES: dict[str, float] = {"sgd": 0.01, "adamw": 1e-4}
DECAYS: dict[str, float] = {"sgd": 1e-4, "adamw": 0.01}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuning:
    """Settings of the fine-tuning; everything in it changes the weights that come out.

    Args:
        optimizer: `sgd` (momentum 0.9) or `adamw`.
        learning_rate: the highest one; by default 0.01 for `sgd`, 0.0001 for `adamw`.
        epochs: passes over the training images; 0 only removes the activations and recalibrates.
        batch_size: images in a step. A last batch of one image joins the one before it.
        warm_up: share of all steps in which the learning rate rises to its highest, in [0, 1). It then falls along half
            a cosine, to 0 behind the last step.
        weight_decay: of every trained parameter; by default 0.0001 for `sgd`, 0.01 for `adamw`.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        clip: largest L2 norm of the gradient of all parameters together; None: as it comes.
        augment: what is done to training images. `flip`: mirrored left to right, half of them. `crop`: shifted by up to
            an eighth of each side, with the image mirrored at its edges.
        recalibrate: batches (at most; there are no more than in an epoch) over which the statistics of batch norms are
            measured anew after the removal; 0: they stay those of the network with its activations.
        train_from: where training starts: parameters that are read before that position stay as they are, and so do
            the statistics of batch norms there. None: everything is trained.
        mixed_precision: bfloat16 where it is safe; None: on GPUs that have it.
        seed: of the order, the augmentation, the held-out images and dropout.

    Raises:
        RecipeError: a value that is out of range.
    """

    optimizer: OptimizerName = "sgd"
    learning_rate: float | None = None
    epochs: int = 5
    batch_size: int = 32
    warm_up: float = 0.05
    weight_decay: float | None = None
    label_smoothing: float = 0.0
    clip: float | None = None
    augment: tuple[Augmentation, ...] = ()
    recalibrate: int = 50
    train_from: Position | None = None
    mixed_precision: bool | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.optimizer not in get_args(OptimizerName):
            raise RecipeError(f"There is no optimizer {self.optimizer!r} here.", "Use sgd or adamw.")
        for name, default in (("learning_rate", RATES), ("weight_decay", DECAYS)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, default[self.optimizer])
        object.__setattr__(self, "augment", tuple(dict.fromkeys(self.augment)))
        for word in self.augment:
            if word not in get_args(Augmentation):
                raise RecipeError(f"There is no augmentation {word!r}.", "Use flip, crop, or both.")
        check_range("learning_rate", self.learning_rate, above=0)
        check_range("epochs", self.epochs, least=0, most=100_000, whole=True)
        check_range("batch_size", self.batch_size, least=1, whole=True)
        check_range("warm_up", self.warm_up, least=0, below=1)
        check_range("weight_decay", self.weight_decay, least=0)
        check_range("label_smoothing", self.label_smoothing, least=0, below=1)
        check_range("recalibrate", self.recalibrate, least=0, whole=True)
        check_range("seed", self.seed, whole=True)
        if self.clip is not None:
            check_range("clip", self.clip, above=0)


def order(ids: Sequence[str], seed: int, epoch: int) -> list[int]:
    """The rows of all images in the order of one epoch: by a number that each image draws for itself.

    It depends on seed, epoch and ids only, so that a run which goes on finds the order of the run that was killed.
    """
    drawn = [float(generator(seed, image_id, epoch, "linearize.order").random()) for image_id in ids]
    return sorted(range(len(ids)), key=lambda row: (drawn[row], row))


def held_out(ids: Sequence[str], seed: int, fraction: float) -> list[int]:
    """The rows that are kept for validation: a share of the images, at least one, whatever their order in the list."""
    drawn = [float(generator(seed, image_id, 0, "linearize.validation").random()) for image_id in ids]
    count = max(1, round(fraction * len(ids)))
    return sorted(sorted(range(len(ids)), key=lambda row: (drawn[row], ids[row]))[:count])


def batches(rows: Sequence[int], size: int) -> list[list[int]]:
    """Rows in batches; a last one of a single row joins the one before, as batch norms need two."""
    cut = [list(rows[at : at + size]) for at in range(0, len(rows), size)]
    if len(cut) > 1 and len(cut[-1]) == 1 and size > 1:
        cut[-2:] = [cut[-2] + cut[-1]]
    return cut
