"""Models that do not answer with a score for each class, but with the best class, or with a few and their scores."""

from __future__ import annotations

from typing import Any

import torch

from linbp.data.predictions import ABSTAINED
from linbp.errors import ModelError

__all__ = ["ANSWERS", "answers_with", "as_scores", "decided"]

ANSWERS = ("scores", "labels", "top-k")
"""What a model may answer with: scores of all classes, the best class alone, the scores of the best few."""


def decided(model: Any, scores: torch.Tensor) -> torch.Tensor:
    """The predicted classes (N,) of scores (N, classes): the best score, the first of several.

    A model with the attribute `abstains` declines to answer with a row of equal scores; that is `ABSTAINED`.
    """
    best = scores.argmax(1)
    if getattr(model, "abstains", False):
        best[scores.amax(1) == scores.amin(1)] = ABSTAINED
    return best


def answers_with(model: Any) -> str:
    """What a model says that it answers with, in its attribute `answers`; without one, scores.

    Raises:
        ModelError: it says something else.
    """
    found = getattr(model, "answers", "scores")
    if found not in ANSWERS:
        raise ModelError(
            f"{getattr(model, 'name', model)} has answers = {found!r}.", f"It is one of: {', '.join(ANSWERS)}."
        )
    return str(found)


def as_scores(answer: Any, answers: str, classes: int | None, name: str) -> Any:
    """What a model answered as scores (N, classes), whose best is its prediction; anything else as it is.

    Args:
        answer: labels are whole numbers (N,) or (N, 1), counted from 0; of the best few, scores (N, classes), in which
            those of the other classes are -inf.
        answers: one of `ANSWERS`.
        classes: how many there are, where the model says it.
        name: what messages call the model.

    Raises:
        ModelError: labels without a number of classes, or outside of it.
    """
    if not isinstance(answer, torch.Tensor):
        return answer
    if answers == "labels" and not answer.is_floating_point() and (answer.ndim == 1 or answer.shape[1:] == (1,)):
        if classes is None:
            raise ModelError(
                f"{name} answers with labels, and does not say how many classes there are.",
                "Give it the attribute class_names, or classes with their number.",
            )
        labels = answer.flatten().long()
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            outside = labels[(labels < 0) | (labels >= classes)]
            raise ModelError(
                f"{name} answers with class {int(outside[0])}, and has {classes} classes (0 to {classes - 1}).",
                "Labels count from 0.",
            )
        return torch.nn.functional.one_hot(labels, classes).float()
    if answers == "top-k" and answer.is_floating_point() and answer.ndim == 2:
        return _below_the_listed(answer)
    return answer


def _below_the_listed(scores: torch.Tensor) -> torch.Tensor:
    """Scores with something finite for the classes that are not listed: as far below the rest as that is wide."""
    unlisted = scores == -torch.inf
    lowest = scores.masked_fill(unlisted, torch.inf).amin(1)
    width = (scores.amax(1) - lowest).clamp(min=1)
    return torch.where(unlisted, (lowest - width)[:, None], scores)
