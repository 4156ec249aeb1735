"""The resumable job: every image of a list becomes an adversarial image in a folder, and nothing finished is made
twice or lost."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from linbp.attack.api import check_channels, check_pool
from linbp.attack.budget import Norm, Rounding
from linbp.attack.choose_start import needs_choice
from linbp.attack.config import reach_note, resolve
from linbp.attack.ensemble import Ensemble
from linbp.attack.job.batch import AttackConfig, Labels, craft_batch
from linbp.attack.job.chosen_start import captured_on, choice_notes, choose_for_job, proxy_names
from linbp.attack.job.images import JobImages, read_pool, scan, turned_note
from linbp.attack.job.store import AdversarialFolder
from linbp.attack.pool import Pool
from linbp.attack.prepare import Prepared, prepare
from linbp.attack.protocol import Protocol
from linbp.attack.published_protocols import find_protocol
from linbp.attack.recipe.recipe import Recipe
from linbp.attack.targets import TargetRule
from linbp.data.image_list import ImageRecord, list_sha256
from linbp.data.images import Pixels, pixel_sha256, size_batches, to_unit
from linbp.data.labels import check_labels, check_not_shifted, spread
from linbp.errors import ImageError
from linbp.graph import Surrogate
from linbp.jobs.progress import Progress
from linbp.jobs.provenance import run_facts
from linbp.jobs.settings import refuse_other_settings
from linbp.models import Classifier, Model

__all__ = ["FolderReport", "craft_folder"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderReport:
    """What a job did.

    Attributes:
        folder: where the adversarial images lie.
        made: how many adversarial images this run made.
        kept: how many an earlier run had finished.
        manifest: the folder's manifest.
        records: one an image, in the list's order.
    """

    folder: Path
    made: int
    kept: int
    manifest: dict[str, Any]
    records: tuple[dict[str, Any], ...]

    def summary(self) -> dict[str, Any]:
        """What the records add up to: the surrogate's own predictions, and the adversarial images' distances.

        `surrogate_hit` counts adversarial images that it takes for their target, of the `aimed` images whose target is
        not their label, and is None for an untargeted attack; `unchanged` counts adversarial images that are their
        clean images; `linf_max` is in levels, `l2_mean` on the scale of [0, 1].
        """
        right = [record for record in self.records if record["prediction_clean"] == record["label"]]
        aimed = [record for record in self.records if record["target"] not in (None, record["label"])]
        hit = sum(record["prediction_adv"] == record["target"] for record in aimed)
        return {
            "images": len(self.records),
            "surrogate_right_on_clean": len(right),
            "surrogate_fooled": sum(record["prediction_adv"] != record["label"] for record in right),
            "surrogate_hit": hit if self.manifest["settings"]["targeted"] else None,
            "aimed": len(aimed),
            "linf_max": max(record["linf"] for record in self.records),
            "l2_mean": sum(record["l2"] for record in self.records) / len(self.records),
            "unchanged": sum(record["linf"] == 0 for record in self.records),
        }


def craft_folder(
    model: Model | Surrogate | Ensemble,
    images: Sequence[ImageRecord],
    folder: str | os.PathLike[str],
    recipe: Recipe | str,
    *,
    protocol: Protocol | str | None = None,
    eps: float | str | None = None,
    steps: int | None = None,
    step_size: float | str | None = None,
    norm: Norm | None = None,
    seed: int = 0,
    rounding: Rounding | None = None,
    target_rule: TargetRule | str | None = None,
    labels: Labels = "given",
    trust_labels: bool = False,
    pool: Pool | Sequence[ImageRecord] | None = None,
    proxies: Sequence[Classifier] = (),
    batch_size: int = 16,
    device: str | torch.device | None = None,
    threads: int = 4,
    command: str = "",
    progress: Progress | None = None,
) -> FolderReport:
    """Craft an adversarial image of every image into `folder`; run again, it makes only what is missing.

    The folder gets `<image id>.png`, one line of `records.jsonl` for each, and `manifest.json` with everything that the
    adversarial images depend on. Batch size, device, threads, command and versions may differ between runs of one
    folder and are noted for each run; everything else must stay as it is. Where one image of a batch is missing, the
    whole batch is computed again and the missing image written: with the same batch size its adversarial image is bit
    for bit that of
        an
    uninterrupted run, also in float32 on a GPU, where the last digits may depend on the companions of a batch.

    Args:
        model: the surrogate, or an ensemble of several.
        images: from `list_images`; targets in it make the attack targeted.
        folder: new, empty, or started by the same job.
        protocol: whose preparation of the photographs and whose values hold; a value that is given as well must be
            the protocol's.
        recipe, eps, steps, step_size, norm, seed, rounding, batch_size: as for `craft`.
        target_rule: chooses the targets of a targeted attack (`shift:K`, `least-likely`, `random`) where the list has
            none.
        labels: `given`, or `predicted`: the surrogate's own predictions of the clean images take the labels' place.
        trust_labels: do not suspect labels of counting from 1.
        pool: images that `admix` mixes in, or their files from `list_images`, which a protocol prepares as it prepares
            the images under attack. They may be those.
        proxies: networks that choose the start of a rule with `start=auto`, on up to eight of the images.
        device: where the surrogate runs; default: where the model is.
        threads: that decode images.
        command: what the user typed, for the manifest.
        progress: told about every stage.

    Raises:
        ImageError: an image cannot be read, or a label is missing, out of range, or seems to count from 1.
        StoreError: the folder holds another job, is being written by another process, or the disk is full.
        RecipeError, BudgetError, ModelError, CaptureError, RuleError: as for `craft`.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.parse(recipe)
    protocol = find_protocol(protocol) if isinstance(protocol, str) else protocol
    check_pool(recipe, pool is not None)
    settings = resolve(
        model,
        images,
        recipe,
        protocol=protocol,
        eps=eps,
        steps=steps,
        step_size=step_size,
        norm=norm,
        seed=seed,
        rounding=rounding,
        labels=labels,
        target_rule=TargetRule.parse(target_rule) if isinstance(target_rule, str) else target_rule,
    )
    tell = progress or (lambda stage, done, total: None)
    if proxies or needs_choice(recipe):
        settings = dataclasses.replace(settings, proxies=proxy_names(recipe, proxies))
    if pool is not None:
        pool = pool if isinstance(pool, Pool) else read_pool(pool, settings.preparation, threads, tell)
        settings = dataclasses.replace(settings, pool=pool.sha256)
    read = scan(JobImages(tuple(images), settings.preparation, threads), tell)
    store = AdversarialFolder(folder)
    before = store.read_manifest()
    tell("capturing the surrogate", 0, 1)
    choice = None if before is None else before.get("choice")
    suspicious = before is None and labels == "given" and not trust_labels
    if needs_choice(recipe) and choice is None:
        captured = captured_on(model, device)
        _check_classes(prepare(captured, Recipe()), settings, read, suspicious)
        choice = choose_for_job(captured, settings, read, proxies, pool, tell)
        model, suspicious = captured, False
    surrogate = prepare(model, recipe if choice is None else Recipe.parse(choice["recipe"]), device)
    tell("capturing the surrogate", 1, 1)
    _check_classes(surrogate, settings, read, suspicious)
    with store.locked():
        manifest = _agreed_manifest(store, settings, read, surrogate, protocol, choice)
        finished = store.finished(store.read_records())
        kept = len(finished)
        batches = [
            batch
            for batch in size_batches(read.sizes, batch_size)
            if any(read.ids[row] not in finished for row in batch)
        ]
        if batches:
            run = {**run_facts(surrogate.device, command), "batch_size": batch_size, "threads": threads, "kept": kept}
            manifest["runs"].append(run)
            begun = False
            for adv_image, record in _work(surrogate, settings, read, batches, pool, tell):
                if not begun:
                    # Only now: settings that the first batch refuses must not be those that bind the folder.
                    store.write_manifest(manifest)
                    store.write_records(list(finished.values()))
                    begun = True
                if record["image_id"] not in finished:
                    store.add(adv_image, record)
                    finished[record["image_id"]] = record
            # The order of the list, whatever was interrupted when.
            store.write_records([finished[image_id] for image_id in read.ids])
    return FolderReport(
        folder=store.path,
        made=len(read.ids) - kept,
        kept=kept,
        manifest=manifest,
        records=tuple(finished[image_id] for image_id in read.ids),
    )


def _check_classes(surrogate: Prepared, settings: AttackConfig, read: JobImages, suspicious: bool) -> None:
    """Refuse a surrogate that takes no RGB, labels and targets that it does not know, or, where suspicious, that seem
    to be shifted.
    """
    check_channels(surrogate, 3)
    name = surrogate.name
    if settings.labels == "given":
        labels = [image.label for image in read.records if image.label is not None]
        check_labels(read.ids, labels, surrogate.classes, network=name)
    if settings.targeted and settings.target_rule is None:
        targets = [image.target for image in read.records if image.target is not None]
        check_labels(read.ids, targets, surrogate.classes, what="target", network=name)
        for image in read.records if settings.labels == "given" else ():
            if image.target == image.label:
                raise ImageError(
                    f"The target of image {image.image_id!r} is its label, {image.label}: there is nothing to attack.",
                    "Give it another target, or leave the image out.",
                )
    if suspicious:
        _check_label_shift(surrogate, read)


def _check_label_shift(surrogate: Prepared, read: JobImages) -> None:
    """Ask the surrogate about a few images whether the labels seem to be shifted."""
    rows = spread(len(read.records))
    asked = [read.records[row] for row in rows]
    predictions = []
    for pixels in read.pixels(rows):
        unit = to_unit(pixels[None], surrogate.dtype, surrogate.device)
        predictions.append(int(surrogate.logits(unit).argmax(1)))
    every = [image.label for image in read.records if image.label is not None]
    given = [image.label for image in asked if image.label is not None]
    check_not_shifted(given, predictions, every, surrogate.classes)


def _agreed_manifest(
    store: AdversarialFolder,
    settings: AttackConfig,
    read: JobImages,
    surrogate: Prepared,
    protocol: Protocol | None,
    choice: dict[str, Any] | None,
) -> dict[str, Any]:
    """The folder's manifest, or a new one; refuses a folder that was started with other settings."""
    wanted = {
        **settings.to_dict(),
        "images_sha256": list_sha256(read.records, read.hashes),
        "surrogate": surrogate.identity(),
    }
    manifest = store.read_manifest()
    if manifest is None:
        return {
            "settings": wanted,
            "recipe": surrogate.recipe.to_dict(),
            "choice": choice,
            "protocol": None if protocol is None else protocol.to_dict(),
            "gradients_per_image": settings.gradients,
            "images": len(read.records),
            "classes": surrogate.classes,
            "notes": [*choice_notes(choice), *reach_note(settings), *surrogate.notes, *turned_note(read.records)],
            "runs": [],
        }
    refuse_other_settings(store.path, manifest["settings"], wanted)
    return manifest


def _work(
    surrogate: Prepared,
    settings: AttackConfig,
    read: JobImages,
    batches: Sequence[Sequence[int]],
    pool: Pool | None,
    tell: Progress,
) -> Iterator[tuple[Pixels, dict[str, Any]]]:
    """Adversarial images and records of all images of the batches, in their order."""
    done, total = 0, sum(map(len, batches)) * settings.all_steps
    tell("crafting", done, total)
    coming = read.pixels(row for batch in batches for row in batch)
    for batch in batches:
        one_size = [next(coming) for _ in batch]
        for row, pixels in zip(batch, one_size, strict=True):
            if pixel_sha256(pixels) != read.hashes[row]:
                raise ImageError(f"Image {read.records[row].path} was changed during the job.", "Start the job again.")
        clean = np.stack(one_size)

        def report(now: int, _: int, before: int = done) -> None:
            tell("crafting", before + now, total)

        images = [read.records[row] for row in batch]
        yield from zip(*craft_batch(surrogate, settings, images, clean, pool, report), strict=True)
        done += len(batch) * settings.all_steps
        tell("crafting", done, total)
    next(coming, None)  # it ends here: where it is collected instead, a Ctrl-C would be lost
