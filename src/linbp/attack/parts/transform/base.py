"""What every transform is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch

from linbp.attack.context import Context
from linbp.attack.parts.objective.base import Features
from linbp.graph import Structure
from linbp.randomness import Draws

__all__ = ["MapTransform", "Transform"]


class Transform:
    """A differentiable change of the images; the gradient is taken through it, at the image itself.

    Attributes:
        at_image: whether it acts on the gradient at the image itself: then it comes before all others, wherever it
            stands in the recipe.
        keeps_clean: whether it leaves clean images as they are.
        averages_logits: whether the objective is one of the mean logits of its copies, and not each copy's own.
        needs_pool: whether it mixes in images of a pool.
        excludes: parts that it cannot be summed with, by their names, and why.
    """

    at_image: ClassVar[bool] = False
    keeps_clean: ClassVar[bool] = False
    averages_logits: ClassVar[bool] = False
    needs_pool: ClassVar[bool] = False
    excludes: ClassVar[Mapping[str, str]] = {}

    @property
    def copies(self) -> int:
        """How many changed copies each image has; their gradients are averaged. A parameter may take its place."""
        return 1

    def feature_maps(self, structure: Structure) -> tuple[str, ...]:
        """The module paths of the feature maps that it asks about before the first step.

        Raises:
            RuleError: there is no such feature map.
        """
        return ()

    def gradients_before(self, members: int) -> int:
        """How many forward and backward passes each image takes before the first step, with so many surrogates."""
        return 0

    def bind(self, context: Context, asked: Sequence[Features]) -> Transform:
        """The transform of one batch: itself, where it has nothing to find out about the images.

        Args:
            context: the batch.
            asked: what each surrogate answers about `feature_maps`; empty where there are none. What gradients they are
                asked for are counted in `gradients_before`.
        """
        return self

    def apply(self, images: torch.Tensor, context: Context, draws: Draws, copy: int) -> torch.Tensor:
        """The changed images, of the same shape.

        Args:
            images: (N, C, H, W) in [0, 1].
            context: the batch.
            draws: of this step, one generator an image; afresh for each copy that other transforms make. The copies
                that the transform itself makes share them, unless it puts the copy's number into the purpose.
            copy: number of the copy that is wanted, from 0.
        """
        raise TypeError(f"{type(self).__name__} changes nothing.")


class MapTransform(Transform):
    """A differentiable change of a feature map: it is mixed with that of other images.

    Attributes:
        share: of the image's own feature map, above 0 and below 1; the other one has the rest, and no gradient.
    """

    share: float

    def feature_map(self, structure: Structure) -> str:
        """The module path of the feature map, which everything on the way to the logits goes through.

        Raises:
            RuleError: there is no such feature map.
        """
        raise TypeError(f"{type(self).__name__} names no feature map.")

    def beside(self, context: Context, draws: Draws) -> torch.Tensor:
        """The images (N, C, H, W) whose feature map is mixed in, before other transforms act on them as on the image.

        Args:
            context: the batch.
            draws: as in `apply`.
        """
        raise TypeError(f"{type(self).__name__} has no other images.")

    def apply(self, images: torch.Tensor, context: Context, draws: Draws, copy: int) -> torch.Tensor:
        """The images as they are."""
        return images
