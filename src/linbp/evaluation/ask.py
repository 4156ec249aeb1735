"""One victim and a list of pairs: asked, doubted, counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from linbp.data.images import Pixels
from linbp.data.labels import spread
from linbp.errors import LabelsError
from linbp.evaluation.answers import Answers, answers_of
from linbp.evaluation.asked_twice import ASKED, ask_twice
from linbp.evaluation.plausible import notes_on_answers, notes_on_counts
from linbp.evaluation.predict import check_classes, check_victim_not_shifted
from linbp.evaluation.records import make_records
from linbp.evaluation.result import Evaluation
from linbp.evaluation.roles import role_of
from linbp.evaluation.statistics import summarise
from linbp.evaluation.victim_input import VictimPreprocessing
from linbp.evaluation.victim_labels import VictimLabels, behind_background
from linbp.models import Classifier
from linbp.models.other_input import TRIED, check_input
from linbp.models.queries import queries_of

__all__ = ["Questions", "ask"]

Read = Callable[[Sequence[int]], Iterator[Pixels]]


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What every victim is asked.

    Attributes:
        ids: the images' names.
        labels: counted from 0.
        targets: of a targeted attack, or None.
        distances: L-inf and L2 of each pair.
        batches: rows of the images, in the order in which victims are asked; those of a batch have one size.
        batch_size: the most images in one.
        clean: reads the clean images of some rows.
        adv: reads the adversarial images of some rows.
        classes: how many a victim must have, or None.
        trust_labels: whether the labels' order is not doubted.
        trust_victim: whether the victim is not asked again, nor with other preprocessing.
        manifest: of the attack, where it is known.
        records: of the attack, one an image, likewise.
        victim_labels: what tells each victim's own labels; None: `labels` are all victims'.
    """

    ids: Sequence[str]
    labels: Sequence[int]
    targets: Sequence[int] | None
    distances: Sequence[tuple[int, float]]
    batches: Sequence[Sequence[int]]
    batch_size: int
    clean: Read
    adv: Read
    classes: int | None = None
    trust_labels: bool = False
    trust_victim: bool = False
    manifest: Mapping[str, Any] | None = None
    records: Sequence[Mapping[str, Any]] = ()
    victim_labels: VictimLabels | None = None


def ask(
    victim: Classifier,
    questions: Questions,
    preprocessing: VictimPreprocessing,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """One victim's answers to all pairs.

    Args:
        victim: the network.
        questions: the pairs.
        preprocessing: what is done to images before the victim gets them.
        tell: told how many of how many images are answered.

    Raises:
        ModelError: the victim fails, or its answers are no measure of it; a LabelsError: it has other classes.
    """
    before = queries_of(victim)
    again = spread(len(questions.ids), ASKED)
    clean = _answers(victim, questions, preprocessing, questions.clean, tell, keep=again)
    labels, targets, notes = _labels(victim, questions, clean)
    doubt_labels = not questions.trust_labels and not _are_predictions(questions)
    if not questions.trust_victim and again:
        notes += ask_twice(
            victim,
            list(questions.clean(again)),
            torch.stack([clean.scores[row] for row in again]),
            clean.margins,
            batch_size=questions.batch_size,
            preprocess=preprocessing.apply,
            reserve=len(questions.ids),
        )
    if doubt_labels:
        check_victim_not_shifted(victim.name, labels, clean.predictions.tolist(), clean.classes)
    if not questions.trust_victim:
        tried = spread(len(questions.ids), TRIED)
        notes += check_input(
            victim,
            lambda: list(questions.clean(tried)),
            [labels[row] for row in tried],
            [int(clean.predictions[row]) for row in tried],
            batch_size=questions.batch_size,
            preprocess=preprocessing.apply,
        )
    adv = _answers(victim, questions, preprocessing, questions.adv, tell)
    records = make_records(questions.ids, labels, targets, clean.predictions, adv.predictions, questions.distances)
    statistics, identity = summarise(records), victim.identity()
    notes += [*notes_on_answers(victim, clean, adv, labels), *notes_on_counts(victim.name, statistics)]
    now = queries_of(victim)
    return Evaluation(
        victim=identity,
        records=records,
        statistics=statistics,
        preprocessing=preprocessing.description,
        role="victim"
        if questions.manifest is None
        else role_of(identity, questions.manifest, questions.records, clean, adv),
        notes=tuple(notes),
        queries=None if now is None or before is None else now.since(before),
    )


def _answers(
    victim: Classifier,
    questions: Questions,
    preprocessing: VictimPreprocessing,
    read: Read,
    tell: Callable[[int, int], None],
    keep: Sequence[int] = (),
) -> Answers:
    """The answers to the clean or the adversarial images, in the order of the rows."""
    rows = [row for batch in questions.batches for row in batch]
    places = {row: place for place, row in enumerate(rows)}
    aims = questions.labels if questions.targets is None else questions.targets
    total, before = 2 * len(rows), 0 if keep else len(rows)
    done = before

    def on_batch(count: int) -> None:
        nonlocal done
        done += count
        tell(done, total)

    if rows:
        tell(before, total)
    found = answers_of(
        victim,
        _stacked(read(rows), questions.batches),
        on_batch,
        preprocessing.apply,
        aims=[aims[row] for row in rows],
        keep=[places[row] for row in keep],
    )
    order = np.array([places[row] for row in range(len(rows))])
    return dataclasses.replace(
        found,
        predictions=found.predictions[order],
        margins=found.margins[order],
        losses=found.losses[order],
        scores={row: found.scores[places[row]] for row in keep},
    )


def _stacked(images: Iterator[Pixels], batches: Sequence[Sequence[int]]) -> Iterator[Pixels]:
    for batch in batches:
        yield np.stack([next(images) for _ in batch])


def _are_predictions(questions: Questions) -> bool:
    return questions.victim_labels is not None and questions.victim_labels.listed is None


def _labels(
    victim: Classifier, questions: Questions, answers: Answers
) -> tuple[Sequence[int], Sequence[int] | None, list[str]]:
    """The labels and targets in the victim's classes, and what should be noted of them.

    Raises:
        LabelsError: they are none of its classes.
    """
    labels, targets, others = questions.labels, questions.targets, questions.classes
    if questions.victim_labels is not None:
        labels, told = questions.victim_labels.of(victim, answers.classes, answers.predictions)
        if targets is not None and others not in (None, answers.classes):
            raise LabelsError(
                f"The attack aims at one of the surrogate's {others} classes, and {victim.name} has {answers.classes}.",
                "Evaluate targeted attacks on networks with the surrogate's classes; untargeted ones on any.",
            )
        return labels, targets, list(told)
    by, told = behind_background(victim, answers.classes, others, labels, answers.predictions)
    if by:
        labels = [label + by for label in labels]
        targets = None if targets is None else [target + by for target in targets]
    elif others not in (None, answers.classes):
        raise LabelsError(
            f"{victim.name} has {answers.classes} classes, and the network that the adversarial images were made on "
            f"{others}.",
            "Give the labels in this network's own classes: --labels FILE, given (by the list of images) or predicted; "
            "if its first classes are the labels', --trust-labels (trust_labels=True).",
        )
    check_classes(victim.name, answers.classes, questions.ids, labels)
    if targets is not None:
        check_classes(victim.name, answers.classes, questions.ids, targets, "target")
    return labels, targets, list(told)
