"""Labels against a network: are they in range, and do they seem to count from 1?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from linbp.errors import ImageError

__all__ = ["LOOKED_AT", "check_labels", "check_not_from_one", "spread"]

LOOKED_AT = 64
"""How many images the surrogate is asked about before labels are trusted."""

SUSPICION = 1e-3
"""Probability, under a fair coin, below which the classes' votes are taken for a list that counts from 1."""


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
                "does, needs --first-label 1 (first_label=1 in Python).",
            )


def spread(count: int, most: int = LOOKED_AT) -> list[int]:
    """Up to `most` indices, spread evenly over a list of `count`: one sorted by class shows many of its classes."""
    if count <= most:
        return list(range(count))
    return [int(index) for index in np.linspace(0, count - 1, most)]


def check_not_from_one(labels: Sequence[int], predictions: Sequence[int], all_labels: Sequence[int]) -> None:
    """Refuse a list whose labels seem to count from 1.

    Each class that is among `labels` has one vote: "from 1" if more of its images are predicted as `label - 1` than
    as `label`, "from 0" the other way round, none if equal. The list is suspected if nowhere in it a label is 0, and
    if so many votes for "from 1" had, with a fair coin for each vote, a probability below 0.001 (ten votes to none;
    more with votes against). Classes vote instead of images because neighbours such as tabby and tiger cat are
    confused one way only. Random labels hardly ever meet either prediction, so they give next to no votes.

    Args:
        labels: those of the images that the surrogate was asked about.
        predictions: the surrogate's predictions of them.
        all_labels: every label of the list.

    Raises:
        ImageError: the labels seem to count from 1.
    """
    if not len(labels) or min(all_labels) < 1:
        return
    given, seen = np.asarray(labels), np.asarray(predictions)
    from_one = from_zero = 0
    for label in np.unique(given):
        predicted = seen[given == label]
        below, equal = int((predicted == label - 1).sum()), int((predicted == label).sum())
        from_one += below > equal
        from_zero += equal > below
    votes = from_one + from_zero
    chance = sum(math.comb(votes, k) for k in range(from_one, votes + 1)) / 2**votes
    if from_one > from_zero and chance < SUSPICION:
        below, equal = int((seen == given - 1).sum()), int((seen == given).sum())
        raise ImageError(
            f"Labels seem to count from 1: of {len(given)} images the surrogate predicts {below} as label - 1 and "
            f"{equal} as label.",
            "Add --first-label 1 (first_label=1 in Python); if the labels are right, --trust-labels "
            "(trust_labels=True).",
        )
