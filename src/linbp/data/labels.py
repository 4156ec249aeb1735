"""Labels against a network: are they in range, and do they seem to count from another number than 0?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from linbp.data.numbering import order_of
from linbp.errors import ImageError

__all__ = ["LOOKED_AT", "check_labels", "check_not_shifted", "spread"]

LOOKED_AT = 64
"""How many images the surrogate is asked about before labels are trusted."""


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
    """Refuse a list whose classes seem to be numbered otherwise than the network's: see `order_of`.

    Args:
        labels: those of the images that the network was asked about.
        predictions: the network's predictions of them.
        all_labels: every label of the list.
        classes: how many the network has.

    Raises:
        ImageError: the labels seem to count from 1, to be one too small, or to be in another order.
    """
    order = order_of(labels, predictions, classes, all_labels)
    if order is None:
        return
    counts = f"of {len(labels)} images the network predicts {order.explained} {order.name} and {order.equal} as label."
    trust = "if the labels are right, --trust-labels (trust_labels=True)."
    if order.by < 0:
        raise ImageError(
            f"Labels seem to count from 1: {counts}", f"Add --first-label 1 (first_label=1 in Python); {trust}"
        )
    if order.by > 0:
        raise ImageError(
            f"Labels seem to be one too small: {counts}",
            "Leave out --first-label 1 if the list counts from 0; for a list from 0 and a network whose class 0 is the "
            f"background, add --first-label -1 (first_label=-1). I{trust[1:]}",
        )
    raise ImageError(f"Labels and classes seem to be in different orders: {counts}", f"{order.mend} I{trust[1:]}")
