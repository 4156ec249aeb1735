"""The victim's answers to the clean images, before hours are spent on attacks: do they fit, and are they steady?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from linbp.audit.flags import Flag
from linbp.bench.answers import Answers
from linbp.bench.networks import Network, Networks
from linbp.bench.plan import AnswerTask, Plan
from linbp.bench.store import Store
from linbp.bench.tasks import Worker
from linbp.bench.work import fault_of
from linbp.data.images import Pixels, read_ahead, size_batches
from linbp.data.labels import check_labels, spread
from linbp.errors import ModelError
from linbp.evaluation.answers import answers_of
from linbp.evaluation.asked_twice import ASKED, UnsteadyError, ask_twice
from linbp.evaluation.predict import check_victim_not_shifted
from linbp.models.other_input import TRIED, check_input

__all__ = ["clean_pixels", "first_answers", "is_steady"]

Ints = npt.NDArray[np.int64]


def first_answers(plan: Plan, store: Store, networks: Networks, tell: Callable[[str, int, int], None]) -> Ints:
    """The victim's predictions of the clean images (images,), kept in the run, where the bench finds them.

    Raises:
        ModelError: it fails, or none of the images is right, or its classes are not the labels'.
        ImageError: a label is no class of the victim's.
    """
    victim = plan.victims[0].victim.name
    worker = Worker(plan, networks, store)
    parts, classes = [], 0
    for shard, rows in enumerate(plan.shards):
        tell("asking about clean images", rows.start, len(plan.images.records))
        task = AnswerTask(0, 0, shard, True)
        outcome = worker.run(task)
        if outcome.state == "crashed":
            raise RuntimeError(outcome.error[2])
        if outcome.state == "failed":
            raise fault_of(outcome)
        name = plan.answers(task)
        found = Answers.read(store.read(name), name, plan.images.hashes[""][rows.start : rows.stop])
        if found is None:
            store.delete(name)
            raise ModelError(f"The answers of {victim} cannot be read back.", "Check the disk, and start again.")
        parts.append(found.predictions)
        classes = found.classes
    tell("asking about clean images", len(plan.images.records), len(plan.images.records))
    predictions = np.concatenate(parts)
    _check(plan, victim, predictions, classes)
    return predictions


def _check(plan: Plan, victim: str, predictions: Ints, classes: int) -> None:
    ids = [record.image_id for record in plan.images.records]
    labels = [-1 if record.label is None else record.label for record in plan.images.records]
    check_labels(ids, labels, classes, network=victim)
    if not plan.suite.trust_labels:
        check_victim_not_shifted(victim, labels, predictions.tolist(), classes)
    if not np.any(predictions == np.array(labels)):
        raise ModelError(
            f"{victim} gets none of the {len(labels)} clean images right, so there is nothing to attack.",
            "Are the labels classes of this model, counted from 0 (--first-label)? Are its size, mean, std and order "
            "of channels those that it was trained with?",
        )


def is_steady(plan: Plan, store: Store, network: Network, predictions: Ints) -> tuple[Flag, ...]:
    """Ask the victim again about a few clean images, and with other preprocessing where it is often wrong.

    Args:
        plan: of the run.
        store: of the run.
        network: the victim.
        predictions: its first answers.

    Raises:
        ModelError: it fails, or another preprocessing is clearly the right one.
    """
    rows = spread(len(predictions), TRIED)
    images = list(clean_pixels(plan, store, rows))
    labels = [int(plan.images.records[row].label or 0) for row in rows]
    size = plan.suite.victim_batch_size
    flags = [
        Flag(kind="preprocessing", text=note, serious=True)
        for note in check_input(
            network, lambda: images, labels, [int(predictions[row]) for row in rows], batch_size=size
        )
    ]
    batches = size_batches([pixels.shape[:2] for pixels in images], size)
    order = [row for batch in batches for row in batch]
    again = spread(len(images), ASKED)
    first = answers_of(
        network,
        (np.stack([images[row] for row in batch]) for batch in batches),
        keep=[order.index(row) for row in again],
    )
    scores = torch.stack([first.scores[order.index(row)] for row in again])
    try:
        notes = ask_twice(
            network,
            [images[row] for row in again],
            scores,
            first.margins,
            batch_size=size,
            reserve=len(plan.attacks) * len(predictions),
        )
    except UnsteadyError as fault:
        return (*flags, Flag(kind="unsteady", text=f"{fault.message} {fault.hint}", serious=True))
    changed = sum(
        int(now != predictions[row]) for now, row in zip(_in_order(first.predictions, order), rows, strict=True)
    )
    if changed:
        text = f"{network.name} gives {changed} of {len(rows)} clean images another class when it is asked again."
        return (*flags, Flag(kind="unsteady", text=text, serious=True))
    return (*flags, *(Flag(kind="unsteady", text=note) for note in notes))


def _in_order(values: Ints, order: Sequence[int]) -> list[int]:
    found = np.empty_like(values)
    found[list(order)] = values
    return [int(one) for one in found]


def clean_pixels(plan: Plan, store: Store, rows: Sequence[int]) -> Iterator[Pixels]:
    """The clean images of some rows."""
    records = [plan.images.records[row] for row in rows]
    own = plan.images.own_files
    return read_ahead([one.path if own else store.fetch(one.path.as_posix()) for one in records])
