"""A substitute in a folder, resumable: after an end at any moment no question is asked twice and no step is lost."""

from __future__ import annotations

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from scipy.stats import binomtest  # type: ignore[import-untyped]

from linbp.data.files import MANIFEST
from linbp.data.image_list import ImageRecord
from linbp.errors import RecipeError
from linbp.models import BlackBox, Classifier, Model
from linbp.models.new_head import with_new_head
from linbp.training.fine_tuning.folder import Lists, TuningReport, check_arguments, run_in_folder
from linbp.training.fine_tuning.program_folder import MODEL, ProgramFolder
from linbp.training.fine_tuning.samples import check_share
from linbp.training.fine_tuning.tuning import Tuning, batches
from linbp.training.loop import TrainingProgress
from linbp.training.substitute.imitation import Imitation
from linbp.training.substitute.questions import ANSWERS, ask_victim, choose_images

__all__ = ["DEFAULT", "LEAST_STEPS", "Imitated", "SubstituteFolder", "make_substitute"]

DEFAULT = Tuning(epochs=20, augment=("flip", "crop"), recalibrate=0)
"""How a substitute is trained, if nothing else is said."""

LEAST_STEPS = 1000
"""Few answers are gone through more often, until there are so many steps, if nothing else is said."""


class SubstituteFolder(ProgramFolder):
    """What `linbp substitute` writes: `answers.jsonl`, then the network as `model.pt2`, and `manifest.json`."""

    COMMAND, LAYOUT = "linbp substitute", "substitute 1"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self.marks = (MANIFEST, ANSWERS)


class Imitated(TuningReport):
    """What `make_substitute` did."""

    @property
    def model_path(self) -> Path:
        """The program, for `--surrogate` or `load_model`; the folder's own name does as well."""
        return self.folder / MODEL

    @property
    def agreement(self) -> dict[str, Any]:
        """`right` of `n` held-out images get the victim's class; the share as `value`, its 95% Wilson interval as `low`
        and `high`."""
        return dict(self.manifest["result"]["agreement"])


def make_substitute(
    victim: Classifier | Callable[[torch.Tensor], Any],
    backbone: Model,
    images: Sequence[ImageRecord],
    folder: str | os.PathLike[str],
    *,
    queries: int | None = None,
    soft_labels: bool = False,
    tuning: Tuning | None = None,
    least_steps: int | None = None,
    validation: float = 0.2,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    checkpoint_every: int = 100,
    threads: int = 4,
    command: str = "",
    progress: TrainingProgress | None = None,
) -> Imitated:
    """Train a network on a victim's answers, to be the surrogate of attacks on it.

    The victim is asked about each image once. The backbone gets a new last layer for the victim's classes (unless it
    has as many), and all of its weights are trained on the answers. Held-out images, about which the victim is asked
    too, say how often both agree. Papernot, McDaniel, Goodfellow, Jha, Celik, Swami: Practical Black-Box Attacks
    against Machine Learning, ASIA CCS 2017, arXiv 1602.02697, train a network of their own from the start; Orekondy,
    Schiele, Fritz: Knockoff Nets, CVPR 2019, arXiv 1812.02766, train a pretrained one, as here. MITRE ATLAS AML.T0005.

    The folder gets `answers.jsonl` (each answer as it comes), `model.pt2` and `model.json` (the substitute), and
    `manifest.json`. A run that goes on asks nothing twice, and ends with the weights of an uninterrupted one, bit for
    bit on a CPU with the same versions and threads.

    Args:
        victim: any classifier, or a function of images; it gets them at their own size, k/255 in [0, 1].
        backbone: a network in float32 or float64 that gives gradients; it stays as it is.
        images: from `list_images`; their labels do not count.
        folder: new, empty, or started by the same job.
        queries: how many images the victim is asked about, drawn by the seed of `tuning`; None: all.
        soft_labels: learn the probabilities of all classes rather than the class alone.
        tuning: of the training.
        least_steps: epochs are added to those of `tuning` until there are so many steps; None: 1,000 without a
            `tuning`, else 0.
        validation: share of the answers that is held out.
        batch_size: most images in one question.
        device: where the substitute is trained; by default where the backbone is.
        checkpoint_every: how many steps apart checkpoints are written inside an epoch; each end of an epoch has one.
        threads: that decode images.
        command: what the user typed, for the manifest.
        progress: told about every stage.

    Raises:
        ModelError: the victim fails or says one class only; the backbone's last layer is not found, or it diverged.
        ImageError: too few images, or one that cannot be read.
        RecipeError: no epochs.
        StoreError: the folder holds another job, is being written by another process, or the disk is full.
        CaptureError: the backbone cannot be captured.
    """
    if least_steps is None:
        least_steps = 0 if tuning else LEAST_STEPS
    tuning = tuning or DEFAULT
    if tuning.epochs < 1:
        raise RecipeError("epochs is 0, so that the substitute would learn nothing.", "Give at least 1.")
    check_arguments(backbone, checkpoint_every)
    check_share(validation)
    tell: TrainingProgress = progress or (lambda stage, done, total, words: None)
    asked = victim if isinstance(victim, Classifier) else BlackBox(victim)
    store, chosen = SubstituteFolder(folder), choose_images(images, queries, tuning.seed)
    with store.locked():
        answers, classes = ask_victim(
            asked,
            chosen,
            store.path,
            soft=soft_labels,
            batch_size=batch_size,
            threads=threads,
            tell=lambda done, total: tell("asking the victim", done, total, ""),
        )
    labelled = [dataclasses.replace(one, label=answers[one.image_id].predicted, target=None) for one in chosen]
    soft = {name: answer.probabilities for name, answer in answers.items()} if soft_labels else None
    network = with_new_head(backbone, classes, getattr(asked, "class_names", ()))
    lists = Lists.of(labelled, validation, threads, tuning.seed, network, soft)
    enough = _epochs(least_steps, len(lists.training.ids), tuning)
    tuning = dataclasses.replace(tuning, epochs=max(tuning.epochs, enough))
    job = Imitation(
        network, lists.training, lists.validation, victim=asked.name, tuning=tuning, device=device, progress=progress
    )
    facts = {name: value for name, value in asked.identity().items() if name != "spec"}
    settings = {**dataclasses.asdict(tuning), "augment": list(tuning.augment)}

    def finish() -> dict[str, Any]:
        written = store.write_model(job.finish())
        return {**written, "agreement": _agreement(job.accuracy["substitute"]["validation"])}

    report = run_in_folder(
        store,
        job,
        lists,
        {"victim": facts, "soft_labels": soft_labels, "tuning": settings},
        more={
            "method": "substitute",
            "queries": len(answers),
            "answers": {
                str(name): count for name, count in sorted(Counter(one.predicted for one in answers.values()).items())
            },
        },
        finish=finish,
        is_whole=lambda result: store.has([result]),
        threads=threads,
        command=command,
        checkpoint_every=checkpoint_every,
    )
    return Imitated(**vars(report))


def _epochs(steps: int, images: int, tuning: Tuning) -> int:
    """How many epochs have at least so many steps."""
    return math.ceil(steps / len(batches(range(images), tuning.batch_size)))


def _agreement(measured: dict[str, Any]) -> dict[str, Any]:
    """A share with its 95% Wilson interval."""
    right, count = int(measured["right"]), int(measured["n"])
    interval = binomtest(right, count).proportion_ci(method="wilson")
    return {"right": right, "n": count, "value": right / count, "low": interval.low, "high": interval.high}
