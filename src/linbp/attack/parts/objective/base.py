"""What every objective is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch

from linbp.attack.context import Context
from linbp.graph import Structure
from linbp.randomness import Draws

__all__ = ["Features", "Measure", "Objective", "Observation", "Score"]

Score = Callable[[torch.Tensor], torch.Tensor]
"""One number for each image, (N,), from its logits (N, classes)."""


class Features(Protocol):
    """What an objective may ask one surrogate about the images of a batch before the first step."""

    @property
    def draws(self) -> Draws:
        """Of the batch, one generator an image."""
        ...

    def __call__(self, images: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """The feature maps of images (N, C, H, W), by module path, without gradients."""
        ...

    def gradients(self, images: torch.Tensor, score: Score) -> Mapping[str, torch.Tensor]:
        """The rule's gradient of a score with respect to each feature map, by module path; one gradient of its cost."""
        ...

    def image_gradients(self, images: torch.Tensor, score: Score) -> torch.Tensor:
        """The rule's gradient of a score with respect to the images, without transforms; one gradient of its cost."""
        ...


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What the surrogate answers at one point; gradients flow back through all of it.

    Attributes:
        logits: (N, classes).
        features: the feature maps (N, ...) that the objective reads, by module path.
        images: (N, C, H, W), the point itself, before the transforms.
    """

    logits: torch.Tensor
    features: Mapping[str, torch.Tensor]
    images: torch.Tensor


Measure = Callable[[Observation], torch.Tensor]
"""One number for each image, shape (N,), larger where the attack is closer to its goal."""


class Objective:
    """What is increased, one number an image.

    Attributes:
        needs_guide: whether it works on what a stage before it found.
        needs_iterates: whether it needs every point of that stage, and not its end only.
        needs_start: whether it has no gradient at the clean image, so that the attack has to begin elsewhere.
        takes_targets: whether it can lead to a target class.
        reads_logits: whether the logits matter, or feature maps only.
        fewest_steps: with fewer steps from the clean image its gradient is that of the cross-entropy.
        before_transforms: whether that holds whatever the transforms do, because it measures the image before them.
    """

    needs_guide: ClassVar[bool] = False
    needs_iterates: ClassVar[bool] = False
    needs_start: ClassVar[bool] = False
    takes_targets: ClassVar[bool] = True
    reads_logits: ClassVar[bool] = True
    fewest_steps: ClassVar[int] = 1
    before_transforms: ClassVar[bool] = False

    def feature_maps(self, structure: Structure) -> tuple[str, ...]:
        """The module paths of the feature maps that it reads on a network of this structure.

        Raises:
            RuleError: there is no such feature map.
        """
        return ()

    def gradients_before(self, members: int) -> int:
        """How many forward and backward passes each image takes before the first step, with so many surrogates."""
        return 0

    def bind(self, context: Context, features: Features) -> Measure:
        """The measure of one batch.

        Args:
            context: the batch.
            features: of any images of the batch, of the clean ones for example. What gradients it is asked for are
                counted in `gradients_before`.
        """
        raise TypeError(f"{type(self).__name__} has no measure.")
