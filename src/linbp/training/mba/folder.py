"""MBA on a folder of images, resumable: nothing is lost when a run ends at any moment."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import safetensors.torch
import torch

from linbp.data.image_list import ImageRecord
from linbp.models import Model
from linbp.models.checkpoint import file_sha256
from linbp.models.sampled import METHOD
from linbp.training.fine_tuning.folder import Lists, TuningReport, check_arguments, run_in_folder
from linbp.training.fine_tuning.program_folder import RefinedFolder
from linbp.training.loop import TrainingProgress
from linbp.training.mba.posterior import Posterior
from linbp.training.mba.settings import Bayesian

__all__ = ["refine_mba"]

MEAN, DEVIATIONS = "mean", "deviations.safetensors"
"""The program of the mean weights, without its ending, and the file of their deviations."""


def refine_mba(
    model: Model,
    images: Sequence[ImageRecord],
    folder: str | os.PathLike[str],
    *,
    settings: Bayesian | None = None,
    validation: float | Sequence[ImageRecord] = 0.1,
    device: str | torch.device | None = None,
    trust_labels: bool = False,
    checkpoint_every: int = 100,
    threads: int = 4,
    command: str = "",
    progress: TrainingProgress | None = None,
) -> TuningReport:
    """MBA: train a network on where its loss is flat, and keep a normal distribution of its weights.

        gradient of a step:  g + (g' - g) penalty / radius,    g' = gradient at w + radius g / |g|_2
        drawn weights:       mean + scale x deviation x N(0, 1), for each weight on its own

    Mean and standard deviation are those of the weights along the run; then batch norms' statistics are measured anew,
    with the mean weights, over the training images. An attack on `load_model(folder)` takes another draw at each step,
    the same for all images, and begins anew after `samples` of them; it costs what an attack on one network costs. Li,
    Guo, Zuo, Chen: Making Substitute Models More Bayesian Can Enhance Transferability of Adversarial Examples, ICLR
    2023, arXiv 2302.05086: SGD with rate 0.05 and momentum 0.9, batches of 1024, decay 0.0005, 10 epochs of ImageNet,
    about 300 versions, and at each step of the attack the mean gradient of 20 new draws, which `turns(count=20)` takes.
    TransferAttack draws 20 networks once for all steps and averages their logits; TA-Bench
    draws one a step, as here.

    The folder gets `mean.pt2`, a surrogate or a victim of its own too, `deviations.safetensors` and `manifest.json`;
    while the job runs, `checkpoint.pt`. A run that goes on ends with the weights of an uninterrupted one, bit for bit
    on a CPU with the same versions and threads.

    Args:
        model: any differentiable model in float32 or float64; it stays as it is.
        images: from `list_images`, with labels; their ids are what randomness is keyed by.
        folder: new, empty, or started by the same job.
        settings: of the run and of the distribution.
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
        RecipeError: an epoch has fewer steps than versions to count.
        ModelError: the network cannot be tuned, or the loss left the range of floats.
        CaptureError: the network cannot be captured.
    """
    settings = settings or Bayesian()
    check_arguments(model, checkpoint_every)
    lists, store = Lists.of(images, validation, threads, settings.seed, model), RefinedFolder(folder)
    job = Posterior(
        model,
        lists.training,
        lists.validation,
        settings=settings,
        device=device,
        trust_labels=trust_labels,
        progress=progress,
    )

    def finish() -> dict[str, Any]:
        mean, notes = job.finish()
        path = store.write(DEVIATIONS, safetensors.torch.save(job.deviations()))
        files = [store.write_model(mean, MEAN), {"file": path.name, "file_sha256": file_sha256(path)}]
        return {"files": files, "same": job.same(), "versions": job.moments.count, "notes": notes}

    return run_in_folder(
        store,
        job,
        lists,
        {"method": METHOD, "tuning": {**dataclasses.asdict(settings), "augment": list(settings.augment)}},
        more={"method": METHOD},
        finish=finish,
        is_whole=lambda result: store.has(result["files"]),
        threads=threads,
        command=command,
        checkpoint_every=checkpoint_every,
    )
