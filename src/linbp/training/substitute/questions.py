"""The questions to the victim: which images it is asked about, and its answers, each written down as it comes."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from linbp.data.files import json_bytes
from linbp.data.image_list import ImageRecord
from linbp.data.images import Pixels, pixel_sha256, read_ahead
from linbp.errors import ImageError, ModelError
from linbp.jobs.rows import Rows
from linbp.models import Classifier
from linbp.models.logits import are_probabilities
from linbp.models.scores import scores_of
from linbp.randomness import generator

__all__ = ["ANSWERS", "Answer", "ask_victim", "choose_images"]

ANSWERS = "answers.jsonl"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a victim says of one image.

    Attributes:
        predicted: its class.
        probabilities: of all classes; empty where only the class is used.
    """

    predicted: int
    probabilities: tuple[float, ...] = ()


def choose_images(images: Sequence[ImageRecord], queries: int | None, seed: int) -> list[ImageRecord]:
    """The images that the victim is asked about, in the list's order: all, or `queries` of them.

    Which ones depends on the seed and their ids, so that more queries ask about the same images and others.

    Raises:
        ImageError: too few to train on some and to measure on others.
    """
    if queries is not None and queries < 2:
        raise ImageError(f"{queries} queries are too few.", "Give at least 2: one to train on, one to measure on.")
    if queries is None or queries >= len(images):
        return list(images)
    drawn = [float(generator(seed, record.image_id, 0, "substitute.queries").random()) for record in images]
    chosen = sorted(range(len(images)), key=lambda row: (drawn[row], images[row].image_id))[:queries]
    return [images[row] for row in sorted(chosen)]


def ask_victim(
    victim: Classifier,
    images: Sequence[ImageRecord],
    folder: Path,
    *,
    soft: bool,
    batch_size: int,
    threads: int,
    tell: Callable[[int, int], None],
) -> tuple[dict[str, Answer], int]:
    """The victim's answers by image id, and how many classes it has. What the folder holds already is not asked again.

    Args:
        victim: any classifier; it gets the images at their own size.
        images: what to ask about.
        folder: where `answers.jsonl` lies; one line for each answer, on the disk before the next batch is asked.
        soft: whether the probabilities of all classes are kept: the victim's own, or the softmax of its logits.
        batch_size: most images in one question.
        threads: that decode images.
        tell: told how many of how many answers are there.

    Raises:
        ModelError: the victim fails, answers with labels where probabilities are needed, or says one class only.
        ImageError: a file is no image.
        StoreError: the file cannot be written.
    """
    if soft and getattr(victim, "answers", "scores") != "scores":
        raise ModelError(
            f"{victim.name} does not answer with a score for each class.", "Leave --soft-labels (soft_labels) out."
        )
    rows, asked = Rows(folder / ANSWERS), _fingerprint(victim, soft)
    known = {str(row["pixels"]): row for row in rows.read() if row.get("asked") == asked}
    found: dict[str, Answer] = {}
    tell(0, len(images))
    for records, pixels in _batches(images, batch_size, threads):
        hashes = [pixel_sha256(one) for one in pixels]
        new = [at for at, name in enumerate(hashes) if name not in known]
        if new:
            scores = scores_of(victim, pixels[new]).double()
            given = scores if are_probabilities(scores) else scores.softmax(1)
            for at, predicted, shares in zip(new, scores.argmax(1).tolist(), given.tolist(), strict=True):
                row = {
                    "image_id": records[at].image_id,
                    "pixels": hashes[at],
                    "asked": asked,
                    "class": predicted,
                    "classes": len(shares),
                }
                known[hashes[at]] = {**row, "probabilities": shares} if soft else row
                rows.append(known[hashes[at]])
        for record, name in zip(records, hashes, strict=True):
            found[record.image_id] = Answer(int(known[name]["class"]), tuple(known[name].get("probabilities", ())))
        tell(len(found), len(images))
    said = {answer.predicted for answer in found.values()}
    if len(said) < 2:
        raise ModelError(
            f"{victim.name} says class {min(said)} for each of {len(found)} images: there is nothing to learn from.",
            "Check its preprocessing; or give images of more of its classes.",
        )
    classes = {int(row["classes"]) for row in known.values()}
    if len(classes) > 1:
        raise ModelError(
            f"{victim.name} answers with {min(classes)} classes for one image and {max(classes)} for another.",
            "Its output must not depend on the number or size of the images.",
        )
    return found, classes.pop()


def _fingerprint(victim: Classifier, soft: bool) -> str:
    """What tells the answers of one victim, and of one kind, from others."""
    facts = {name: value for name, value in victim.identity().items() if name != "spec"}
    return hashlib.sha256(json_bytes([facts, soft])).hexdigest()[:16]


def _batches(records: Sequence[ImageRecord], size: int, threads: int) -> Iterator[tuple[list[ImageRecord], Pixels]]:
    """Images that follow each other and have one size, and their pixels (N, H, W, 3)."""
    batch: list[tuple[ImageRecord, Pixels]] = []
    for record, pixels in zip(records, read_ahead([record.path for record in records], threads), strict=True):
        if batch and (len(batch) == size or batch[0][1].shape != pixels.shape):
            yield [one for one, _ in batch], np.stack([one for _, one in batch])
            batch = []
        batch.append((record, pixels))
    if batch:
        yield [one for one, _ in batch], np.stack([one for _, one in batch])
