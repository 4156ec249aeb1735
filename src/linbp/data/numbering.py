"""Classes that a network numbers otherwise than the labels: which order of them explains its predictions?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Order", "order_of"]

SUSPICION = 5e-3
"""Probability, under a fair coin, below which the classes' votes are taken for another order."""

SHARE, TIMES = 0.25, 2
"""What an order that is no shift must explain too: this share of the images, so many times as many as the labels."""

FEWEST, NEARLY = 8, 0.9
"""A permutation of no known kind moves so many images, and explains this share of them and of all errors."""

Classes = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Order:
    """An order of classes that explains a network's predictions better than the labels do.

    Attributes:
        by: -1 or 1 if the predictions are the labels minus or plus 1; 0 for another order.
        explained: how many images are predicted as that order says.
        equal: how many are predicted as their label.
        name: the order, as in "it predicts 30 images ...".
        mend: what to do about it, in words; empty for a shift, whose mend depends on who asks.
    """

    by: int
    explained: int
    equal: int
    name: str
    mend: str = ""


def order_of(
    labels: Sequence[int], predictions: Sequence[int], classes: int, all_labels: Sequence[int] | None = None
) -> Order | None:
    """The order of classes that explains the predictions, if it is not that of the labels.

    Tried are labels that are one too large or too small, numbers that were sorted as strings (by the network or by the
    list, from 0 or from 1: 0, 1, 10, 11, 2, ...), the reverse order, and any permutation that explains nearly all
    errors. Each class that an order moves has one vote: for the order if more of its images are predicted so than as
    the label, against it the other way round, none if equal. An order is suspected if so many votes for it had, with a
    fair coin for each vote, a probability below 0.005 (eight votes to none; more with votes against). Classes vote
    instead of images because neighbours such as tabby and tiger cat are confused one way only. Of several orders, the
    one that explains most images is returned.

    Args:
        labels: those of the images that the network was asked about, from 0.
        predictions: the network's predictions of them.
        classes: how many the network has.
        all_labels: every label of the list; default: `labels`.
    """
    given, predicted = np.asarray(labels, np.int64), np.asarray(predictions, np.int64)
    every = np.asarray(labels if all_labels is None else all_labels, np.int64)
    if not len(given) or min(every.min(), predicted.min()) < 0 or max(every.max(), predicted.max()) >= classes:
        return None
    found = [*_shifts(given, predicted, every, classes), *_known(given, predicted, classes)]
    if permuted := _permutation(given, predicted):
        found.append(permuted)
    return max(found, key=lambda order: order.explained, default=None)


def _shifts(given: Classes, predicted: Classes, every: Classes, classes: int) -> Iterator[Order]:
    """The labels minus and plus 1, where all labels are still classes then."""
    for by, possible in ((-1, every.min() >= 1), (1, every.max() < classes - 1)):
        if possible and (counts := _votes(given, predicted, given + by)):
            yield Order(by, *counts, f"as label {'-' if by < 0 else '+'} 1")


def _known(given: Classes, predicted: Classes, classes: int) -> Iterator[Order]:
    """Orders that have a name; the array that belongs to each says what every label is predicted as."""
    for first in (0, 1):
        numbers = range(first, first + classes)
        order = np.array(sorted(numbers, key=str)) - first
        example = f"{', '.join(str(number + first) for number in order[:4])}, ..."
        python = f"sorted(range({first}, {first + classes}), key=str)"
        less = f" - {first}" if first else ""
        yield from _suspected(
            given,
            predicted,
            np.argsort(order),
            f"as if its classes were sorted as strings ({example})",
            "Put its outputs in order, logits[:, torch.tensor("
            f"{python}).argsort()]; or train on folders whose numbers have leading zeros.",
        )
        yield from _suspected(
            given,
            predicted,
            order,
            f"as if the labels numbered classes that were sorted as strings ({example})",
            f"Number the labels anew: {python}[label]{less}.",
        )
    yield from _suspected(
        given,
        predicted,
        np.arange(classes)[::-1],
        "as if the classes were numbered from the last to the first",
        "Turn its outputs round: logits.flip(1).",
    )


def _suspected(given: Classes, predicted: Classes, order: Classes, name: str, mend: str) -> Iterator[Order]:
    counts = _votes(given, predicted, order[given])
    if counts and counts[0] >= max(SHARE * len(given), TIMES * counts[1]):
        yield Order(0, *counts, name, mend)


def _permutation(given: Classes, predicted: Classes) -> Order | None:
    """The permutation of what each label is mostly predicted as, if it explains nearly all errors.

    It moves two labels or more to different classes, and nearly all images of each label that it moves. Where most
    predictions are right, the labels that it moves must change places among themselves.
    """
    mostly = {int(label): int(np.bincount(predicted[given == label]).argmax()) for label in np.unique(given)}
    moved = {label: to for label, to in mostly.items() if label != to}
    if len(moved) < 2 or len(set(mostly.values())) < len(mostly):
        return None
    expected = np.array([mostly[int(label)] for label in given])
    of_moved, wrong = expected != given, predicted != given
    explained = int((of_moved & (predicted == expected)).sum())
    exchanged = set(moved) == set(moved.values())
    if explained < FEWEST or explained < NEARLY * max(of_moved.sum(), wrong.sum()):
        return None
    # One image a label says nothing: whatever is wrong is then explained.
    if explained < 2 * len(moved) or not (exchanged or 2 * wrong.sum() > len(given)):
        return None
    pairs = ", ".join(f"{label} as {to}" for label, to in list(moved.items())[:5])
    equal = int((~wrong).sum())
    return Order(
        0,
        explained,
        equal,
        f"as one permutation of the classes says ({pairs}{', ...' if len(moved) > 5 else ''})",
        "Number the labels as the network numbers its classes, or put its outputs in the labels' order.",
    )


def _votes(given: Classes, predicted: Classes, expected: Classes) -> tuple[int, int] | None:
    """How many images are predicted as expected and as the label, if the classes that are moved suspect the order."""
    moved = given != expected
    ahead = behind = 0
    for label in np.unique(given[moved]):
        some = given == label
        beside, equal = int((predicted == expected)[some].sum()), int((predicted[some] == label).sum())
        ahead += beside > equal
        behind += equal > beside
    votes = ahead + behind
    chance = sum(math.comb(votes, k) for k in range(ahead, votes + 1)) / 2**votes
    if ahead <= behind or chance >= SUSPICION:
        return None
    return int((predicted == expected).sum()), int((predicted == given).sum())
