"""Labels and targets of a job: those of the list, checked, or the surrogate's own predictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from linbp.attack.config import AttackConfig
from linbp.attack.context import Goal
from linbp.attack.ensemble import Ensemble
from linbp.attack.inputs import Inputs, check_channels
from linbp.attack.job.images import JobImages
from linbp.attack.scores import SOME, check_scores
from linbp.data.image_list import ImageRecord
from linbp.data.images import size_batches, to_unit
from linbp.data.labels import check_labels, check_not_shifted, spread
from linbp.data.named_labels import numbered
from linbp.errors import ImageError
from linbp.models import Model
from linbp.models.other_input import POOR, TRIED, check_input
from linbp.models.scores import scores_of

__all__ = ["check_answers", "check_classes", "check_label_shift", "goal_of", "inputs_of", "with_numbers"]

ASKED = 16
"""Images that the surrogate is asked about at a time."""


def with_numbers(ensemble: Ensemble, config: AttackConfig, read: JobImages) -> JobImages:
    """The images with numbers of the surrogate's classes where the list has words: see `numbered`.

    Raises:
        ImageError: a word is none of the surrogate's classes.
    """
    names = next((one.model.class_names for one in ensemble.surrogates if one.model.class_names), ())
    given = config.labels == "given"
    try:
        found = numbered(read.records, names, network=ensemble.name, classes=ensemble.classes, labels=given)
    except ImageError as error:
        other = " If they are another network's classes: --labels predicted (labels='predicted')." if given else ""
        raise ImageError(error.message, error.hint + other) from error
    return dataclasses.replace(read, records=found)


def check_classes(ensemble: Ensemble, config: AttackConfig, read: JobImages) -> None:
    """Refuse a surrogate that takes no RGB, and labels and targets that it does not know.

    Raises:
        ImageError: one of them.
    """
    check_channels(ensemble, 3)
    wanted = getattr(read.records, "classes", None)
    if config.labels == "given" and wanted not in (None, ensemble.classes):
        raise ImageError(
            f"The list names its classes as ImageNet's {wanted}, but {ensemble.name} has {ensemble.classes} classes.",
            "Write the numbers of the network's classes instead, from 0, in a CSV or as names of the sub-folders.",
        )
    if config.labels == "given":
        labels = [image.label for image in read.records if image.label is not None]
        check_labels(read.ids, labels, ensemble.classes, network=ensemble.name)
    if config.targeted and config.target_rule is None:
        targets = [image.target for image in read.records if image.target is not None]
        check_labels(read.ids, targets, ensemble.classes, what="target", network=ensemble.name)
        for image in read.records if config.labels == "given" else ():
            if image.target == image.label:
                raise ImageError(
                    f"The target of image {image.image_id!r} is its label, {image.label}: there is nothing to attack.",
                    "Give it another target, or leave the image out.",
                )


def check_answers(ensemble: Ensemble, read: JobImages) -> None:
    """Refuse surrogates that answer a few of the images with something other than logits.

    Raises:
        ModelError: they do.
    """
    rows = size_batches(read.sizes, SOME)[0]
    check_scores(ensemble, to_unit(np.stack(list(read.pixels(rows))), ensemble.dtype, ensemble.device))


def check_label_shift(ensemble: Ensemble, read: JobImages) -> None:
    """Ask the surrogate about a few images whether the labels seem to be shifted, or its input to be another one.

    Raises:
        ImageError: the labels seem to be shifted, or in another order.
        ModelError: a surrogate that is often wrong would be right with another mean, scale or order of channels.
    """
    rows = spread(len(read.records))
    batches = [[rows[place] for place in batch] for batch in size_batches([read.sizes[row] for row in rows], ASKED)]
    asked = [read.records[row] for batch in batches for row in batch]
    predictions: list[int] = []
    for batch in batches:
        unit = to_unit(np.stack(list(read.pixels(batch))), ensemble.dtype, ensemble.device)
        predictions += ensemble.logits(unit).argmax(1).tolist()
    every = [image.label for image in read.records if image.label is not None]
    given = [image.label for image in asked if image.label is not None]
    check_not_shifted(given, predictions, every, ensemble.classes)
    if sum(map(int.__eq__, given, predictions)) < POOR * len(given):
        for surrogate in ensemble.surrogates:
            _check_input(surrogate.model, read)


def _check_input(model: Model, read: JobImages) -> None:
    """Refuse a surrogate that knows half of a few images more with another input."""
    rows = spread(len(read.records), TRIED)
    images = list(read.pixels(rows))
    labels = [label for row in rows if (label := read.records[row].label) is not None]
    predictions = [int(scores_of(model, pixels[None]).argmax()) for pixels in images]
    trust = "--trust-labels (trust_labels=True)"
    check_input(model, lambda: images, labels, predictions, batch_size=TRIED, trust=trust)


def inputs_of(ensemble: Ensemble, config: AttackConfig, read: JobImages, rows: Sequence[int]) -> Inputs:
    """Some images of one size with their classes and names, in the ensemble's dtype and on its device.

    Raises:
        RecipeError: as `goal_of`.
    """
    clean = to_unit(np.stack(list(read.pixels(rows))), ensemble.dtype, ensemble.device)
    records = [read.records[row] for row in rows]
    goal = goal_of(config, records, ensemble.logits(clean))
    return Inputs(
        images=clean,
        labels=goal.labels.cpu(),
        targets=None if goal.targets is None else goal.targets.cpu(),
        ids=[record.image_id for record in records],
    )


def goal_of(config: AttackConfig, images: Sequence[ImageRecord], logits: torch.Tensor) -> Goal:
    """Labels and targets of some images, on the logits' device: those of the list, or the surrogate's.

    Args:
        config: of the job.
        images: the images' entries in the list.
        logits: (N, classes), the surrogate's for the clean images.

    Raises:
        RecipeError: the target rule has no target to give on so few classes.
    """
    device = logits.device
    labels = logits.argmax(1)
    if config.labels == "given":
        labels = torch.tensor([image.label for image in images], device=device)
    targets = None
    if config.target_rule is not None:
        targets = config.target_rule.targets([image.image_id for image in images], labels, logits, config.seed)
    elif config.targeted:
        targets = torch.tensor([image.target for image in images], device=device)
    return Goal(labels=labels, targets=targets)
