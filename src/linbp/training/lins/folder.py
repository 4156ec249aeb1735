"""LinS on a folder of images, resumable: nothing is lost when a run ends at any moment."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from linbp.data.image_list import ImageRecord
from linbp.graph import Position
from linbp.models import Model
from linbp.rules.sites import Which
from linbp.training.fine_tuning.folder import Lists, TuningReport, check_arguments, run_in_folder
from linbp.training.fine_tuning.program_folder import MODEL, ProgramFolder
from linbp.training.fine_tuning.tuning import Tuning
from linbp.training.lins.linearization import Linearization
from linbp.training.loop import TrainingProgress

__all__ = ["LinearizeReport", "linearize_folder"]


class LinearizeFolder(ProgramFolder):
    """What `linbp linearize` writes."""

    COMMAND, LAYOUT = "linbp linearize", "linearize 1"


class LinearizeReport(TuningReport):
    """What `linearize_folder` did: its folder has the program, its preprocessing and the manifest."""

    @property
    def model_path(self) -> Path:
        """The program, for `--surrogate` or `load_model`."""
        return self.folder / MODEL


def linearize_folder(
    model: Model,
    start: Position,
    images: Sequence[ImageRecord],
    folder: str | os.PathLike[str],
    *,
    validation: float | Sequence[ImageRecord] = 0.1,
    sites: Which | tuple[int, ...] | None = None,
    tuning: Tuning | None = None,
    device: str | torch.device | None = None,
    trust_labels: bool = False,
    checkpoint_every: int = 100,
    threads: int = 4,
    command: str = "",
    progress: TrainingProgress | None = None,
) -> LinearizeReport:
    """LinS (see `linearize`) on image files, into a folder; run again after an end at any moment, it goes on.

    The folder gets `model.pt2` (a program that takes any number of images), `model.json` (its preprocessing) and
    `manifest.json` with everything that the weights depend on, and while the job runs `checkpoint.pt`. A run that goes
    on ends with the weights of an uninterrupted one, bit for bit on a CPU with the same versions and threads.

    Args:
        model, start, sites, tuning, device, trust_labels, progress: as for `linearize`.
        images: from `list_images`, with labels; their ids are what randomness is keyed by.
        folder: new, empty, or started by the same job.
        validation: a share of the images that is held out, or other images.
        checkpoint_every: how many steps apart checkpoints are written inside an epoch; each end of an epoch has one.
        threads: that decode images.
        command: what the user typed, for the manifest.

    Raises:
        StoreError: the folder holds another job, is being written by another process, or the disk is full.
        RuleError, ImageError, ModelError, CaptureError: as for `linearize`.
    """
    tuning = tuning or Tuning()
    check_arguments(model, checkpoint_every)
    lists = Lists.of(images, validation, threads, tuning.seed, model)
    # What is quickly checked comes before every image is read.
    job = Linearization(
        model,
        start,
        lists.training,
        lists.validation,
        sites=sites,
        tuning=tuning,
        device=device,
        trust_labels=trust_labels,
        progress=progress,
    )
    store = LinearizeFolder(folder)
    known = job.program.structure.sites
    removed = [known[index] for index in job.removed]

    report = run_in_folder(
        store,
        job,
        lists,
        {
            "start": start,
            "sites": list(sites) if isinstance(sites, tuple) else sites,
            "tuning": {**dataclasses.asdict(tuning), "augment": list(tuning.augment)},
        },
        more={
            "removed": [{"index": site.index, "op": site.op, "module_path": site.module_path} for site in removed],
            "sites": len(known),
        },
        finish=lambda: store.write_model(job.finish()),
        is_whole=lambda result: store.has([result]),
        threads=threads,
        command=command,
        checkpoint_every=checkpoint_every,
    )
    return LinearizeReport(**vars(report))
