"""What happened to each image: its label, the victim's two predictions, how far the adversarial image is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from linbp.data.predictions import ABSTAINED

__all__ = ["Record", "make_records"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One image and one victim.

    Attributes:
        image_id: the image's name.
        label: its class.
        target: the class that the attack aimed at; None if it was untargeted.
        clean_prediction: the victim's prediction of the clean image.
        adv_prediction: the victim's prediction of the adversarial image.
        linf: largest difference of a channel of a pixel, in levels (0 to 255).
        l2: Euclidean norm of the difference, with images in [0, 1].
    """

    image_id: str
    label: int
    target: int | None
    clean_prediction: int
    adv_prediction: int
    linf: int
    l2: float

    @property
    def right_on_clean(self) -> bool:
        """Whether the victim has the clean image right: others say nothing about the attack."""
        return self.clean_prediction == self.label

    @property
    def fooled(self) -> bool:
        """Right on the clean image and wrong on the adversarial image; no answer is not wrong."""
        return self.right_on_clean and self.adv_prediction not in (self.label, ABSTAINED)

    @property
    def can_hit(self) -> bool:
        """Whether a targeted attack can be counted: right on the clean image, and the target is another class."""
        return self.right_on_clean and self.target is not None and self.target != self.label

    @property
    def hit(self) -> bool:
        """Counted, and the adversarial image is taken for the target."""
        return self.can_hit and self.adv_prediction == self.target

    def to_dict(self) -> dict[str, Any]:
        """The attributes, and whether the victim was fooled."""
        return {**dataclasses.asdict(self), "fooled": self.fooled, "hit": self.hit if self.can_hit else None}


def make_records(
    ids: Sequence[str],
    labels: Sequence[int],
    targets: Sequence[int] | None,
    clean_predictions: npt.NDArray[np.int64],
    adv_predictions: npt.NDArray[np.int64],
    distance: Sequence[tuple[int, float]],
) -> tuple[Record, ...]:
    """One record an image, of columns of equal length."""
    return tuple(
        Record(
            image_id=image_id,
            label=int(labels[row]),
            target=None if targets is None else int(targets[row]),
            clean_prediction=int(clean_predictions[row]),
            adv_prediction=int(adv_predictions[row]),
            linf=distance[row][0],
            l2=distance[row][1],
        )
        for row, image_id in enumerate(ids)
    )
