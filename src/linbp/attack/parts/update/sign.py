"""Steps along the gradient itself: many small ones, or one of the whole radius."""

from __future__ import annotations

from typing import ClassVar

from linbp.attack.parts.update.base import Update
from linbp.registry import part

__all__ = ["FullStep", "Sign"]


@part("update", "sign")
class Sign(Update):
    """A step along the steepest direction of the budget's norm: the gradient's sign, or its Euclidean unit vector.

        x <- project(x + step sign(g))

    Kurakin, Goodfellow, Bengio: Adversarial Examples in the Physical World, ICLR 2017 workshop, arXiv 1607.02533.
    """


@part("update", "fgsm")
class FullStep(Update):
    """One step of the whole radius.

        x <- project(x + eps sign(g))

    Goodfellow, Shlens, Szegedy: Explaining and Harnessing Adversarial Examples, ICLR 2015, arXiv 1412.6572.
    """

    single_step: ClassVar[bool] = True
