"""Answers that are no fair measure of a victim: what should be said beside its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from linbp.data.predictions import ABSTAINED
from linbp.evaluation.answers import Answers
from linbp.evaluation.statistics import Statistics
from linbp.models import Classifier
from linbp.models.decisions import answers_with

__all__ = ["notes_on_answers", "notes_on_counts"]

TOLD = {"labels": "the best class alone", "top-k": "the scores of the best few classes"}

FEW = 20
"""Below so many counted images a success rate is known to no better than about 40 points."""


def notes_on_answers(victim: Classifier, clean: Answers, adv: Answers, labels: Sequence[int]) -> tuple[str, ...]:
    """What is odd about a victim's scores: probabilities, equal ones, one class for everything.

    Args:
        victim: who answered.
        clean: to the clean images.
        adv: to the adversarial images.
        labels: of the clean images.
    """
    notes, count, answers = [], len(labels), answers_with(victim)
    if answers != "scores":
        notes.append(
            f"{victim.name} answers with {TOLD[answers]}: success needs no more. Its losses are not known, so that the "
            "surrogate itself is not recognised by them."
        )
    if clean.probabilities:
        notes.append(
            f"{victim.name} answers with probabilities, not with logits. Its predictions are the same; as a surrogate "
            "or a proxy it would mislead: take the softmax off, or return log_softmax."
        )
    silent = [int((one.predictions == ABSTAINED).sum()) for one in (clean, adv)]
    if any(silent):
        notes.append(
            f"{victim.name} gives no answer to {silent[0]} clean and {silent[1]} adversarial images of {count}, "
            "which is neither right nor a success."
        )
    tied = int((clean.margins == 0).sum() + (adv.margins == 0).sum())
    if tied:
        notes.append(
            f"{victim.name} has two or more best classes for {tied} of {2 * count} images, of which the first counts: "
            "its scores are too coarse, as saturated probabilities are. Evaluate its logits."
        )
    seen = np.unique(clean.predictions)
    if len(seen) == 1 and seen[0] != ABSTAINED and len(set(labels)) > 1 and count > 2:
        notes.append(
            f"{victim.name} gives each of {count} clean images the class {seen[0]}: is it trained, and are size, mean, "
            "std and range those of its training?"
        )
    place = Path(str(getattr(victim, "source", {}).get("spec", "")))
    if place.suffix in (".onnx", ".pt2") and not place.with_suffix(".json").is_file():
        notes.append(
            f"{victim.name} gets RGB in [0, 1] as it is. If it was trained on normalised images, say so in "
            f"{place.with_suffix('.json').name} beside it (docs/victims.md)."
        )
    spec = str(getattr(victim, "source", {}).get("spec", "")).rpartition("|")[2].strip()
    if spec.startswith("oip:") and not spec.lower().endswith(".json") and victim.identity()["dtype"] != "UINT8":
        notes.append(
            f"{victim.name} gets RGB in [0, 1] as it is. If it was trained on normalised images, and its server does "
            "not normalise them, say so in a JSON file: oip:URL@FILE.json (docs/http.md)."
        )
    return tuple(notes)


def notes_on_counts(name: str, statistics: Statistics) -> tuple[str, ...]:
    """How little is known where few images are counted."""
    success, known = statistics.success, statistics.right_on_clean
    if known == 0:
        return (
            f"{name} is right on none of {statistics.images} clean images, so that nothing is counted. Are its classes "
            "the labels', and its preprocessing that of its training?",
        )
    if success.n < FEW:
        images = "1 image is" if success.n == 1 else f"{success.n} images are"
        return (
            f"Of {name}, {images} counted: the 95% interval reaches from {success.low:.0%} to {success.high:.0%}. "
            "Fifty or more give a figure that can be compared.",
        )
    return ()
