"""LinS on a folder of images, resumable: nothing is lost when a run ends at any moment."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from linbp.data.image_list import ImageRecord, not_used
from linbp.data.unused import Unused
from linbp.errors import ModelError, StoreError
from linbp.graph import Position
from linbp.jobs.provenance import run_facts
from linbp.jobs.settings import refuse_other_settings
from linbp.models import Model, weights_sha256
from linbp.rules.sites import Which
from linbp.training.lins.linearization import Linearization
from linbp.training.lins.samples import Files, split
from linbp.training.lins.store import MODEL, LinearizeFolder
from linbp.training.lins.tuning import Tuning
from linbp.training.loop import TrainingProgress

__all__ = ["LinearizeReport", "linearize_folder"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearizeReport:
    """What `linearize_folder` did.

    Attributes:
        folder: where the program, its preprocessing and the manifest lie.
        resumed_at: the step of the checkpoint that this run went on from; None if it started the job.
        already_finished: whether an earlier run had finished the job, so that nothing was done.
        manifest: the folder's manifest.
    """

    folder: Path
    resumed_at: int | None
    already_finished: bool
    manifest: dict[str, Any]

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
    if checkpoint_every < 1:
        raise StoreError(f"Checkpoints cannot be {checkpoint_every} steps apart.", "Give at least 1.")
    if model.input_size[0] != 3:
        raise ModelError(
            f"{model.name} takes {model.input_size[0]} channels, and image files hold three.",
            "Use linbp.training.lins.linearize with arrays, or a network that takes RGB.",
        )
    every = Files(images, threads)
    if isinstance(validation, int | float):
        training, kept_apart = split(every, validation, tuning.seed)
    else:
        training, kept_apart = every, Files(validation, threads)
    # What is quickly checked comes before every image is read.
    job = Linearization(
        model,
        start,
        training,
        kept_apart,
        sites=sites,
        tuning=tuning,
        device=device,
        trust_labels=trust_labels,
        progress=progress,
    )
    store = LinearizeFolder(folder)
    with store.locked():
        manifest = store.read_manifest()
        lists = _facts_of_lists(training, kept_apart, job.tell)
        share = validation if isinstance(validation, int | float) else None
        settings = _settings(model, start, sites, share, job, lists)
        if manifest is None:
            others = () if isinstance(validation, int | float) else not_used(validation)
            manifest = _new_manifest(settings, job, lists, (*not_used(images), *others))
        refuse_other_settings(store.path, manifest["settings"], settings)
        if manifest["finished"] and store.model_sha256() == manifest["result"]["file_sha256"]:
            store.drop_checkpoint()
            return LinearizeReport(folder=store.path, resumed_at=None, already_finished=True, manifest=manifest)
        state = store.read_checkpoint()
        resumed_at = None if state is None else int(state["step"])
        run = {
            **run_facts(job.device, command),
            "mixed_precision": "bfloat16" if job.mixed else "off",
            "threads": threads,
            "resumed_at_step": resumed_at,
        }
        if state is None:
            job.measure_and_recalibrate()
        else:
            job.load(state)
        manifest["runs"].append(run)
        manifest["finished"] = False
        # Before the first checkpoint: a folder with a checkpoint and no manifest is not ours.
        store.write_manifest(_filled(manifest, job))

        def keep() -> None:
            # In this order: the manifest must not promise a step that is not there.
            store.write_checkpoint(job.state())
            store.write_manifest(_filled(manifest, job))

        if job.loop.step == 0:
            keep()
        job.loop.run(keep, every_steps=checkpoint_every)
        made = job.finish()
        assert made.program is not None
        manifest["result"] = {
            "file": MODEL,
            "file_sha256": store.write_model(made),
            "weights_sha256": weights_sha256(made.program.state_dict),
        }
        manifest["finished"] = True
        store.write_manifest(_filled(manifest, job))
        store.drop_checkpoint()
    return LinearizeReport(folder=store.path, resumed_at=resumed_at, already_finished=False, manifest=manifest)


def _facts_of_lists(training: Files, validation: Files, tell: TrainingProgress) -> dict[str, Any]:
    """Numbers and hashes of both lists; every image is read once."""
    total, done = len(training.ids) + len(validation.ids), 0
    tell("reading images", 0, total, "")
    found: dict[str, Any] = {}
    pixels_of: list[set[str]] = []
    for name, files in (("training", training), ("validation", validation)):
        hashes = []
        for pixels in files.hashes():
            hashes.append(pixels)
            done += 1
            tell("reading images", done, total, "")
        found[name] = {"images": len(files.ids), "images_sha256": files.sha256(hashes)}
        pixels_of.append(set(hashes))
    found["in_both"] = len(pixels_of[0] & pixels_of[1])
    return found


def _settings(
    model: Model,
    start: Position,
    sites: Which | tuple[int, ...] | None,
    share: float | None,
    job: Linearization,
    lists: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that the weights depend on, as JSON keeps it."""
    tuning = dataclasses.asdict(job.tuning)
    return {
        "model": {key: value for key, value in model.identity().items() if key != "spec"},  # one file has many paths
        "start": start,
        "sites": list(sites) if isinstance(sites, tuple) else sites,
        "training_sha256": lists["training"]["images_sha256"],
        "validation_sha256": lists["validation"]["images_sha256"],
        "held_out": share,
        "tuning": {**tuning, "augment": list(tuning["augment"])},
    }


def _new_manifest(
    settings: dict[str, Any], job: Linearization, lists: Mapping[str, Any], unused: Sequence[Unused]
) -> dict[str, Any]:
    sites, notes = job.program.structure.sites, job.notes
    if lists["in_both"]:
        notes.append(f"{lists['in_both']} validation images are among the training images too, pixel for pixel")
    removed = [sites[index] for index in job.removed]
    return {
        "settings": settings,
        "removed": [{"index": site.index, "op": site.op, "module_path": site.module_path} for site in removed],
        "sites": len(sites),
        "training_images": lists["training"]["images"],
        "validation_images": lists["validation"]["images"],
        "unused": [one.to_dict() for one in unused],
        "notes": notes,
        "runs": [],
        "finished": False,
    }


def _filled(manifest: dict[str, Any], job: Linearization) -> dict[str, Any]:
    """The manifest with how far the job is."""
    manifest["progress"] = {"step": job.loop.step, "steps": job.loop.steps}
    manifest["seconds"] = round(job.loop.seconds, 3)
    manifest["accuracy"], manifest["history"] = job.accuracy, job.loop.history
    return manifest
