"""How fast and how long the run is, and how often its weights are kept."""

from __future__ import annotations

import dataclasses

from linbp.errors import RecipeError
from linbp.training.fine_tuning.tuning import Augmentation, Tuning
from linbp.validation import check_range

__all__ = ["HighRate"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class HighRate:
    """Settings of the run; everything in it changes the weights that come out.

    Args:
        learning_rate: of SGD with momentum 0.9, from the first step to the last.
        epochs: passes over the training images, at least 1.
        snapshots: how often the weights are kept in each epoch, at equal distances, at least 1.
        batch_size: images in a step. A last batch of one image joins the one before it.
        weight_decay: of every parameter.
        augment: what is done to training images: `flip`, `crop`, as in `Tuning`.
        mixed_precision: bfloat16 where it is safe; None: on GPUs that have it.
        seed: of the order, the augmentation, the held-out images and dropout.

    Raises:
        RecipeError: a value that is out of range.
    """

    learning_rate: float = 0.05
    epochs: int = 10
    snapshots: int = 4
    batch_size: int = 256
    weight_decay: float = 1e-4
    augment: tuple[Augmentation, ...] = ("flip", "crop")
    mixed_precision: bool | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("snapshots", self.snapshots, least=1, whole=True)
        tuning = self.tuning()
        if tuning.epochs < 1:
            raise RecipeError("epochs is 0, so that no weights would be kept.", "Give at least 1.")
        object.__setattr__(self, "augment", tuning.augment)

    def tuning(self) -> Tuning:
        """The same for the trainer."""
        names = {field.name for field in dataclasses.fields(Tuning)}
        given = {name: value for name, value in vars(self).items() if name in names}
        return Tuning(optimizer="sgd", warm_up=0.0, recalibrate=0, **given)

    def marks(self, steps_per_epoch: int) -> list[int]:
        """After which steps, counted from 1, the weights are kept.

        Raises:
            RecipeError: an epoch has fewer steps than that.
        """
        if self.snapshots > steps_per_epoch:
            raise RecipeError(
                f"Weights cannot be kept {self.snapshots} times in an epoch of {steps_per_epoch} steps.",
                "Give more images, a smaller --batch-size, or fewer --snapshots.",
            )
        return [
            epoch * steps_per_epoch + (number + 1) * steps_per_epoch // self.snapshots
            for epoch in range(self.epochs)
            for number in range(self.snapshots)
        ]
