"""Labels against a network: are they in range, and do they seem to count from another number than 0?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from linbp.errors import ImageError

__all__ = ["LOOKED_AT", "Shift", "check_labels", "check_not_shifted", "shift_of", "spread"]

LOOKED_AT = 64
"""How many images the surrogate is asked about before labels are trusted."""

SUSPICION = 5e-3
"""Probability, under a fair coin, below which the classes' votes are taken for a shifted list."""


def check_labels(
    ids: Sequence[str], labels: Sequence[int], classes: int, *, what: str = "label", network: str = "the network"
) -> None:
    """Refuse labels that the network has no class for.

    Args:
        ids: the images' names.
        labels: one for each image, counted from 0.
        classes: how many classes the network has.
        what: what the message calls them: `label` or `target`.
        network: what the message calls the network.

    Raises:
        ImageError: one is out of range.
    """
    for image_id, label in zip(ids, labels, strict=True):
        if not 0 <= label < classes:
            raise ImageError(
                f"The {what} of image {image_id!r} is {label}, but {network} has the classes 0 to {classes - 1}.",
                "Labels must be classes of this network, counted from 0; a list that counts from 1, as NIPS 2017's "
                "does, needs --first-label 1 (first_label=1 in Python)"
                + (", and one that counts from 0 must not have it." if label < 0 else "."),
            )


def spread(count: int, most: int = LOOKED_AT) -> list[int]:
    """Up to `most` indices, spread evenly over a list of `count`: one sorted by class shows many of its classes."""
    if count <= most:
        return list(range(count))
    return [int(index) for index in np.linspace(0, count - 1, most)]


def check_not_shifted(
    labels: Sequence[int], predictions: Sequence[int], all_labels: Sequence[int], classes: int
) -> None:
    """Refuse a list whose labels seem to be one too large, counted from 1, or one too small.

    Each class that is among `labels` has one vote: "shifted" if more of its images are predicted as the label's
    neighbour than as the label, "right" the other way round, none if equal. The list is suspected if all its labels,
    shifted, are still classes of the network, and if so many votes for "shifted" had, with a fair coin for each vote, a
    probability below 0.005 (eight votes to none; more with votes against). Classes vote instead of images because
    neighbours such as tabby and tiger cat are confused one way only. Random labels hardly ever meet either prediction,
    so they give next to no votes.

    Args:
        labels: those of the images that the network was asked about.
        predictions: the network's predictions of them.
        all_labels: every label of the list.
        classes: how many the network has.

    Raises:
        ImageError: the labels seem to be shifted.
    """
    shift = shift_of(labels, predictions, classes, all_labels)
    if shift is None:
        return
    if shift.by < 0:
        raise ImageError(
            f"Labels seem to count from 1: of {len(labels)} images the network predicts {shift.beside} as label - 1 "
            f"and {shift.equal} as label.",
            "Add --first-label 1 (first_label=1 in Python); if the labels are right, --trust-labels "
            "(trust_labels=True).",
        )
    raise ImageError(
        f"Labels seem to be one too small: of {len(labels)} images the network predicts {shift.beside} as label + 1 "
        f"and {shift.equal} as label.",
        "Leave out --first-label 1 if the list counts from 0; a network with a class for the background in front "
        "needs labels that are one larger. If the labels are right, --trust-labels (trust_labels=True).",
    )


@dataclasses.dataclass(frozen=True)
class Shift:
    """Labels that seem to stand beside the predictions.

    Attributes:
        by: -1 if the predictions are the labels minus 1, 1 if they are the labels plus 1.
        beside: how many images are predicted so.
        equal: how many are predicted as their label.
    """

    by: int
    beside: int
    equal: int


def shift_of(
    labels: Sequence[int], predictions: Sequence[int], classes: int, all_labels: Sequence[int] | None = None
) -> Shift | None:
    """Whether labels seem to be shifted against a network's classes, as `check_not_shifted` suspects it.

    Args:
        labels: those of the images that the network was asked about.
        predictions: the network's predictions of them.
        classes: how many the network has.
        all_labels: every label of the list; default: `labels`.
    """
    every = labels if all_labels is None else all_labels
    if len(labels):
        if min(every) >= 1 and (counts := _votes(labels, predictions, -1)):
            return Shift(-1, *counts)
        if max(every) < classes - 1 and (counts := _votes(labels, predictions, 1)):
            return Shift(1, *counts)
    return None


def _votes(labels: Sequence[int], predictions: Sequence[int], shift: int) -> tuple[int, int] | None:
    """How many images are predicted as the label's neighbour and as the label, if classes suspect a shift."""
    given, predicted = np.asarray(labels), np.asarray(predictions)
    shifted = right = 0
    for label in np.unique(given):
        some = predicted[given == label]
        beside, equal = int((some == label + shift).sum()), int((some == label).sum())
        shifted += beside > equal
        right += equal > beside
    votes = shifted + right
    chance = sum(math.comb(votes, k) for k in range(shifted, votes + 1)) / 2**votes
    if shifted <= right or chance >= SUSPICION:
        return None
    return int((predicted == given + shift).sum()), int((predicted == given).sum())
