"""What a network answers with: one row of scores for each image, and whether the scores are logits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from linbp.errors import LogitsError, ModelError

__all__ = ["SeveralLabels", "are_probabilities", "check_logits"]

MATRIX = 2
"""The rank of logits."""


def check_logits(answer: Any, count: int, name: str) -> torch.Tensor:
    """Check that `answer` is a finite tensor of shape (count, classes) with two classes or more, and return it.

    Raises:
        ModelError: it is something else, such as one column, the numbers of classes, or scores for each pixel.
    """
    if not isinstance(answer, torch.Tensor):
        raise ModelError(f"{name} answers with {_kind(answer)}, not with a tensor of logits.", _select(answer, count))
    shape = tuple(answer.shape)
    if answer.ndim != MATRIX or len(answer) != count:
        raise ModelError(f"{name} answers {count} images with shape {shape}.", _reshape(answer, count))
    if answer.shape[1] < 2:
        raise ModelError(
            f"{name} answers each image with {shape[1]} column{'' if shape[1] == 1 else 's'}: the class of every image "
            "would be 0.",
            _TWO_COLUMNS,
        )
    if answer.is_complex():
        raise ModelError(f"{name} answers with complex numbers.", "Return real scores, such as their absolute values.")
    if not answer.is_floating_point() and _are_class_numbers(answer):
        raise ModelError(f"{name} answers with whole numbers ({answer.dtype}) that look like classes.", _SCORES)
    finite = torch.isfinite(answer).all(1)
    if not finite.all():
        raise LogitsError(
            f"{name} answers with NaN or infinite logits.",
            "Check its weights and that mean, std and input range are those it was trained with; logarithms of "
            "probabilities come from log_softmax.",
            tuple((~finite).nonzero().flatten().tolist()),
        )
    return answer


def select_logits(answer: Any) -> Any:
    """The entry `logits` of what a network answers with, where it is a tensor: of a mapping, or an attribute.

    Anything else stays as it is.
    """
    if isinstance(answer, torch.Tensor):
        return answer
    found = answer.get("logits") if isinstance(answer, Mapping) else getattr(answer, "logits", None)
    return found if isinstance(found, torch.Tensor) else answer


class LogitsOnly(nn.Module):
    """A network that answers with more than logits, as one that answers with them.

    Args:
        network: whose answers have an entry or an attribute `logits`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> Any:
        """Logits (N, classes)."""
        return select_logits(self.network(images))


def are_probabilities(answers: torch.Tensor) -> bool:
    """Whether scores (N, classes) are probabilities: no row has a negative number, and each sums to 1.

    Numbers that are 0 and 1 only are decisions, and not meant.
    """
    if not answers.is_floating_point() or not len(answers):
        return False
    values = answers.double()
    tolerance = max(1e-4, answers.shape[1] * torch.finfo(answers.dtype).eps / 2)
    sums = bool(((values.sum(1) - 1).abs() < tolerance).all())
    return sums and bool((values >= 0).all()) and not bool(((values == 0) | (values == 1)).all())


class SeveralLabels:
    """Looks out for scores that say yes or no for each of several labels, as sigmoids do: no class is the answer.

    Such scores lie between 0 and 1, near both, and several of one image are above a half, as no probabilities of
    classes that exclude each other are.
    """

    FEWEST = 4

    def __init__(self) -> None:
        self.images = self.several = 0
        self.low, self.high = math.inf, -math.inf

    def add(self, scores: torch.Tensor) -> None:
        """Look at the scores (N, classes) of some images."""
        self.images += len(scores)
        self.several += int(((scores > 0.5).sum(1) > 1).sum())
        self.low, self.high = min(self.low, float(scores.min())), max(self.high, float(scores.max()))

    def check(self, name: str) -> None:
        """Refuse such scores.

        Raises:
            ModelError: they are.
        """
        squashed = 0 <= self.low < 0.1 and 0.9 < self.high <= 1
        if squashed and self.several and self.images >= self.FEWEST:
            raise ModelError(
                f"{name} says yes or no for each class by itself, as sigmoids do for several labels: {self.several} of "
                f"{self.images} images have more than one class above a half.",
                "An attack succeeds when the one class of an image changes, and here there is no such class. If each "
                "image has one all the same, return logits: torch.logit(p) of these numbers, or the network without "
                "its sigmoid.",
            )


_TWO_COLUMNS = (
    "Give two columns: torch.cat([torch.zeros_like(z), z], 1) for one logit z of class 1, torch.cat([1 - p, p], 1) for "
    "its probability p."
)
_SCORES = "Return a score for each class, such as torch.nn.functional.one_hot(numbers, classes).float()."
_ROWS = "Return one row of scores for each image, in the images' order: shape (images, classes)."


def _kind(answer: Any) -> str:
    """What something that is no tensor is, in words."""
    kind = type(answer).__name__
    if isinstance(answer, Mapping):
        return f"a {kind} of {', '.join(map(repr, list(answer)[:8])) or 'nothing'}"
    return f"a {kind} of {len(answer)}" if isinstance(answer, tuple | list) else f"a {kind}"


def _select(answer: Any, count: int) -> str:
    """The hint that says where in a container the logits seem to be."""
    entries: list[tuple[Any, Any]] = []
    if isinstance(answer, Mapping):
        entries = list(answer.items())
    elif isinstance(answer, Sequence) and not isinstance(answer, str):
        entries = list(enumerate(answer))
    fitting = [
        key
        for key, value in entries
        if isinstance(value, torch.Tensor) and value.ndim == MATRIX and len(value) == count
    ]
    if fitting:
        best = "logits" if "logits" in fitting else fitting[0]
        return f"Wrap the network so that its forward returns the logits only: answer[{best!r}]."
    return "Wrap the network so that its forward returns logits of shape (images, classes)."


def _reshape(answer: torch.Tensor, count: int) -> str:
    """The hint for a tensor of another shape than (count, classes)."""
    shape = tuple(answer.shape)
    if shape == (count,):
        return _SCORES if not answer.is_floating_point() else _TWO_COLUMNS
    if answer.ndim > MATRIX and shape[0] == count:
        if all(length == 1 for length in shape[2:]):
            return "Take the last axes off in a wrapper: answer.flatten(1) has shape (images, classes)."
        return (
            "Logits have shape (images, classes). Scores for each pixel, box or token are no classification: pool or "
            "select them in a wrapper."
        )
    if answer.ndim == MATRIX and shape[1] == count:
        return "Rows are images and columns classes: return answer.T."
    if answer.ndim == MATRIX and count and shape[0] > count and shape[0] % count == 0:
        crops = shape[0] // count
        return f"Several rows for each image, such as crops, are averaged in a wrapper: view({count}, {crops}, -1)."
    return _ROWS


def _are_class_numbers(answers: torch.Tensor) -> bool:
    """Whether whole numbers (N, k) are the k best classes rather than scores.

    Scores of quantised networks have 8 bits, or some below 0; votes sum to one number in every row; and a class is
    listed once.
    """
    if answers.dtype in (torch.bool, torch.uint8, torch.int8) or not len(answers) or bool((answers < 0).any()):
        return False
    sums, in_order = answers.sum(1), answers.sort(1).values
    return not bool((sums == sums[:1]).all()) and bool((in_order[:, 1:] > in_order[:, :-1]).all())
