"""LGV on a folder of images, resumable: nothing is lost when a run ends at any moment."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import torch

from linbp.data.image_list import ImageRecord
from linbp.models import Model
from linbp.training.fine_tuning.folder import Lists, TuningReport, check_arguments, run_in_folder
from linbp.training.fine_tuning.program_folder import RefinedFolder
from linbp.training.lgv.collection import Collection
from linbp.training.lgv.settings import HighRate
from linbp.training.loop import TrainingProgress

__all__ = ["refine_lgv"]


def refine_lgv(
    model: Model,
    images: Sequence[ImageRecord],
    folder: str | os.PathLike[str],
    *,
    settings: HighRate | None = None,
    validation: float | Sequence[ImageRecord] = 0.1,
    device: str | torch.device | None = None,
    trust_labels: bool = False,
    checkpoint_every: int = 100,
    threads: int = 4,
    command: str = "",
    progress: TrainingProgress | None = None,
) -> TuningReport:
    """LGV: train a network on at a high, constant rate, and keep its weights along the way.

        w_0 = the model's,    w_(t+1) = w_t - rate m_(t+1),    m_(t+1) = 0.9 m_t + gradient,    now and then a copy of w

    An attack on `load_model(folder)` takes another copy at each step, in an order that is drawn once and the same for
    all images, and begins anew when all had their turn; it costs what an attack on one network costs. Batch norms'
    statistics are those of the run. Gubri, Cordy, Papadakis, Le Traon, Sen: LGV: Boosting Adversarial Example
    Transferability from Large Geometric Vicinity, ECCV 2022, arXiv 2207.13129: SGD with rate 0.05 and momentum 0.9,
    batches of 256, 10 epochs of ImageNet, 4 copies an epoch. Public code differs in the order: TA-Bench draws with
    replacement, TransferAttack counts on from batch to batch.

    The folder gets `snapshot-01.pt2` and so on, each a surrogate or a victim of its own too, and `manifest.json`; while
    the job runs, `checkpoint.pt`. A run that goes on ends with the weights of an uninterrupted one, bit for bit on a
    CPU with the same versions and threads.

    Args:
        model: any differentiable model in float32 or float64; it stays as it is.
        images: from `list_images`, with labels; their ids are what randomness is keyed by.
        folder: new, empty, or started by the same job.
        settings: of the run.
        validation: a share of the images that is held out, or other images.
        device: where to compute; by default where the model is.
        trust_labels: do not suspect labels of counting from 1.
        checkpoint_every: how many steps apart checkpoints are written inside an epoch; each end of an epoch has one.
        threads: that decode images.
        command: what the user typed, for the manifest.
        progress: told about every stage.

    Raises:
        StoreError: the folder holds another job, is being written by another process, or the disk is full.
        ImageError: images or labels that do not fit.
        RecipeError: an epoch has fewer steps than weights to keep.
        ModelError: the network cannot be tuned, or the loss left the range of floats.
        CaptureError: the network cannot be captured.
    """
    settings = settings or HighRate()
    check_arguments(model, checkpoint_every)
    lists, store = Lists.of(images, validation, threads, settings.seed, model), RefinedFolder(folder)

    def keep(number: int, count: int, version: Model) -> dict[str, Any]:
        """Write a version of the network, counted from 0, as `--surrogate` takes it alone."""
        return store.write_model(version, f"snapshot-{number + 1:0{len(str(count))}}")

    job = Collection(
        model,
        lists.training,
        lists.validation,
        settings=settings,
        keep=keep,
        device=device,
        trust_labels=trust_labels,
        progress=progress,
    )

    def finish() -> dict[str, Any]:
        notes = job.finish()
        return {"snapshots": job.snapshots, "notes": notes}

    return run_in_folder(
        store,
        job,
        lists,
        {"method": "lgv", "tuning": {**dataclasses.asdict(settings), "augment": list(settings.augment)}},
        more={"method": "lgv"},
        finish=finish,
        is_whole=lambda result: store.has(result["snapshots"]),
        threads=threads,
        command=command,
        checkpoint_every=checkpoint_every,
    )
