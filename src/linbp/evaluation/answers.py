"""What a victim answers to a list of images: classes, and how sure they are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from linbp.data.images import Pixels
from linbp.data.predictions import ABSTAINED
from linbp.errors import ImageError, ModelError
from linbp.models import Classifier
from linbp.models.decisions import answers_with, decided
from linbp.models.logits import SeveralLabels, are_probabilities
from linbp.models.scores import Preprocess, scores_of

__all__ = ["Answers", "answers_of", "spreads"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """A victim's answers to N images.

    Attributes:
        predictions: the class of each, (N,); `ABSTAINED` where the victim gave no answer.
        classes: how many the victim has.
        margins: by how much the best score exceeds the second, as a share of the image's scores' range, (N,); NaN for a
            victim that answers with labels alone, and where there is no answer.
        losses: the cross-entropy to the classes that were asked about, in nats, (N,); NaN where there is none, and for
            a victim that does not tell the scores of all classes.
        probabilities: whether the scores of all classes are told, and all are probabilities.
        scores: of the images that were to be kept, by their place in the list.
    """

    predictions: npt.NDArray[np.int64]
    classes: int
    margins: Floats
    losses: Floats
    probabilities: bool
    scores: dict[int, torch.Tensor]


def answers_of(
    model: Classifier,
    batches: Iterable[Pixels],
    on_batch: Callable[[int], None] | None = None,
    preprocess: Preprocess | None = None,
    *,
    aims: Sequence[int] | None = None,
    keep: Collection[int] = (),
) -> Answers:
    """The answers to all images of `batches`, each of levels (N, H, W, 3).

    Args:
        model: the network.
        batches: images of one size each.
        on_batch: called after each batch with the number of its images.
        preprocess: what is done to the images before the network gets them.
        aims: the class of each image that `losses` are about.
        keep: places in the list of the images whose scores are kept.

    Raises:
        ModelError: logits are not finite, or not of one shape; or they say yes or no for each of several labels.
        ImageError: there are no images.
    """
    answers = answers_with(model)
    predictions, margins, losses = [], [], []
    classes, done, sums_to_one, kept = 0, 0, answers == "scores", {}
    several = SeveralLabels()
    for pixels in batches:
        answer = scores_of(model, pixels, preprocess)
        sums_to_one = sums_to_one and are_probabilities(answer)
        scores = answer.double()
        if answers == "scores":
            several.add(scores)
        if classes and scores.shape[1] != classes:
            raise ModelError(
                f"{model.name} answers with {classes} classes for one batch and {scores.shape[1]} for another.",
                "Its output must not depend on the number or size of the images.",
            )
        classes = scores.shape[1]
        # Not of `topk`, whose first of several equal scores is another one.
        predicted = decided(model, answer).numpy().astype(np.int64)
        predictions.append(predicted)
        margins.append(np.full(len(scores), np.nan) if answers == "labels" else _margins(scores))
        margins[-1][predicted == ABSTAINED] = np.nan
        told = aims if answers == "scores" else None
        losses.append(_losses(scores, None if told is None else told[done : done + len(scores)]))
        kept.update({place: scores[place - done] for place in keep if done <= place < done + len(scores)})
        done += len(scores)
        if on_batch is not None:
            on_batch(len(pixels))
    if not predictions:
        raise ImageError("There are no images to predict.", "Give at least one.")
    several.check(model.name)
    return Answers(
        predictions=np.concatenate(predictions),
        classes=classes,
        margins=np.concatenate(margins),
        losses=np.concatenate(losses),
        probabilities=sums_to_one,
        scores=kept,
    )


def spreads(scores: torch.Tensor) -> torch.Tensor:
    """The range of each image's scores (N, classes), and 1 where all are equal: differences are measured by it."""
    ranges = scores.amax(1) - scores.amin(1)
    return torch.where(ranges > 0, ranges, torch.ones_like(ranges))


def _margins(scores: torch.Tensor) -> Floats:
    best = scores.topk(2).values
    found: Floats = ((best[:, 0] - best[:, 1]) / spreads(scores)).numpy()
    return found


def _losses(scores: torch.Tensor, aims: Sequence[int] | None) -> Floats:
    if aims is None or min(aims) < 0 or max(aims) >= scores.shape[1]:
        return np.full(len(scores), np.nan)
    found: Floats = functional.cross_entropy(scores, torch.tensor(aims), reduction="none").numpy()
    return found
