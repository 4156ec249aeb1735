"""A fine-tuning in a folder, resumable: nothing is lost when a run ends at any moment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from linbp.data.files import json_bytes
from linbp.data.image_list import ImageRecord, not_used
from linbp.data.named_labels import in_words, numbered
from linbp.data.unused import Unused
from linbp.errors import ModelError, StoreError
from linbp.jobs.folder import JobFolder
from linbp.jobs.provenance import run_facts
from linbp.jobs.settings import refuse_other_settings
from linbp.models import Model
from linbp.training.fine_tuning.job import FineTuningJob
from linbp.training.fine_tuning.samples import Files, split
from linbp.training.loop import TrainingProgress

__all__ = ["Lists", "TuningReport", "check_arguments", "run_in_folder", "sidecar"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuningReport:
    """What a fine-tuning did in its folder.

    Attributes:
        folder: where its results and the manifest lie.
        resumed_at: the step of the checkpoint that this run went on from; None if it started the job.
        already_finished: whether an earlier run had finished the job, so that nothing was done.
        manifest: the folder's manifest.
    """

    folder: Path
    resumed_at: int | None
    already_finished: bool
    manifest: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Lists:
    """Images to train on and to measure on.

    Attributes:
        training, validation: the images.
        held_out: the share of the first list that the second is, or None where it is a list of its own.
        unused: what the lists name or hold besides.
    """

    training: Files
    validation: Files
    held_out: float | None
    unused: tuple[Unused, ...]

    @classmethod
    def of(
        cls,
        images: Sequence[ImageRecord],
        validation: float | Sequence[ImageRecord],
        threads: int,
        seed: int,
        model: Model,
        soft: Mapping[str, Sequence[float]] | None = None,
    ) -> Lists:
        """The two lists, whose labels in words become numbers of the model's classes.

        Args:
            images: to train on.
            validation: a share of them, or other images.
            threads: that decode images.
            seed: of the held-out images.
            model: to train.
            soft: probabilities to train on, by image id.

        Raises:
            ImageError: an image has no label, a word is no class of the model's, or nothing is left to train on.
        """
        images = _numbered(images, model)
        every = Files(images, threads, soft)
        if isinstance(validation, int | float):
            return cls(*split(every, validation, seed), held_out=validation, unused=not_used(images))
        validation = _numbered(validation, model)
        unused = (*not_used(images), *not_used(validation))
        return cls(every, Files(validation, threads), held_out=None, unused=unused)

    def facts(self, tell: TrainingProgress) -> dict[str, Any]:
        """Numbers and hashes of both lists; every image is read once."""
        total, done = len(self.training.ids) + len(self.validation.ids), 0
        tell("reading images", 0, total, "")
        found: dict[str, Any] = {}
        pixels_of: list[set[str]] = []
        for name, files in (("training", self.training), ("validation", self.validation)):
            hashes = []
            for pixels in files.hashes():
                hashes.append(pixels)
                done += 1
                tell("reading images", done, total, "")
            found[name] = {"images": len(files.ids), "images_sha256": files.sha256(hashes)}
            pixels_of.append(set(hashes))
        found["in_both"] = len(pixels_of[0] & pixels_of[1])
        return found


def _numbered(images: Sequence[ImageRecord], model: Model) -> Sequence[ImageRecord]:
    if not in_words(images):
        return images
    return numbered(images, model.class_names, network=model.name, classes=model.count_classes())


def check_arguments(model: Model, checkpoint_every: int) -> None:
    """Refuse what no image needs to be read for.

    Raises:
        StoreError: checkpoints cannot be so far apart.
        ModelError: the network takes no RGB.
    """
    if checkpoint_every < 1:
        raise StoreError(f"Checkpoints cannot be {checkpoint_every} steps apart.", "Give at least 1.")
    if model.input_size[0] != 3:
        raise ModelError(
            f"{model.name} takes {model.input_size[0]} channels, and image files hold three.",
            "Use linbp.training.lins.linearize with arrays, or a network that takes RGB.",
        )


def settings_of(lists: Lists, facts: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """What the weights depend on besides the tuning, as JSON keeps it."""
    return {
        "model": {key: value for key, value in model.identity().items() if key != "spec"},  # one file has many paths
        "training_sha256": facts["training"]["images_sha256"],
        "validation_sha256": facts["validation"]["images_sha256"],
        "held_out": lists.held_out,
    }


def new_manifest(
    settings: Mapping[str, Any], job: FineTuningJob, lists: Lists, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The manifest of a folder that no run has written to yet."""
    notes = job.notes
    if facts["in_both"]:
        notes.append(f"{facts['in_both']} validation images are among the training images too, pixel for pixel")
    return {
        "settings": dict(settings),
        "training_images": facts["training"]["images"],
        "validation_images": facts["validation"]["images"],
        "unused": [one.to_dict() for one in lists.unused],
        "notes": notes,
        "runs": [],
        "finished": False,
    }


def run_in_folder(
    store: JobFolder,
    job: FineTuningJob,
    lists: Lists,
    settings: Mapping[str, Any],
    *,
    more: Mapping[str, Any],
    finish: Callable[[], dict[str, Any]],
    is_whole: Callable[[Mapping[str, Any]], bool],
    threads: int,
    command: str,
    checkpoint_every: int,
) -> TuningReport:
    """Take all steps that are left, with checkpoints, and write what came of them.

    Args:
        store: of the job.
        job: new.
        lists: of its images.
        settings: that the weights depend on besides the model and the images.
        more: what a new manifest says besides.
        finish: after the last step: writes the results and says what the manifest keeps of them.
        is_whole: whether the results of a finished manifest are all there.
        threads: that decode images.
        command: what the user typed.
        checkpoint_every: how many steps apart checkpoints are inside an epoch.

    Raises:
        StoreError: the folder holds another job, is being written by another process, or the disk is full.
        ModelError: the training diverged.
    """
    with store.locked():
        manifest = store.read_manifest()
        facts = lists.facts(job.tell)
        wanted = {**settings_of(lists, facts, job.model), **settings}
        if manifest is None:
            manifest = {**new_manifest(wanted, job, lists, facts), **more}
        refuse_other_settings(store.path, manifest["settings"], wanted)
        if manifest["finished"] and is_whole(manifest["result"]):
            store.drop_checkpoint()
            return TuningReport(folder=store.path, resumed_at=None, already_finished=True, manifest=manifest)
        state = store.read_checkpoint()
        resumed_at = None if state is None else int(state["step"])
        run = {
            **run_facts(job.device, command),
            "mixed_precision": "bfloat16" if job.mixed else "off",
            "threads": threads,
            "resumed_at_step": resumed_at,
        }
        if state is None:
            job.begin()
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
        manifest["result"] = finish()
        manifest["finished"] = True
        store.write_manifest(_filled(manifest, job))
        store.drop_checkpoint()
    return TuningReport(folder=store.path, resumed_at=resumed_at, already_finished=False, manifest=manifest)


def sidecar(model: Model) -> bytes:
    """The preprocessing of a program, for the JSON file beside it."""
    facts = model.preprocessing_arguments
    if model.class_names:
        facts["classes"] = list(model.class_names)
    return json_bytes(facts, indent=2)


def _filled(manifest: dict[str, Any], job: FineTuningJob) -> dict[str, Any]:
    """The manifest with how far the job is."""
    manifest["progress"] = {"step": job.loop.step, "steps": job.loop.steps}
    manifest["seconds"] = round(job.loop.seconds, 3)
    manifest["accuracy"], manifest["history"] = job.accuracy, job.loop.history
    return manifest
