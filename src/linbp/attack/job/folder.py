"""The resumable job: every image of a list becomes an adversarial image in a folder, and nothing finished is made
twice or lost."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from linbp.attack.budget import Norm, Rounding
from linbp.attack.choose_start import has_auto_start, with_start
from linbp.attack.config import AttackConfig, Labels
from linbp.attack.ensemble import Attackable, as_ensemble, models_of
from linbp.attack.job.batch import craft_batch
from linbp.attack.job.chosen_start import check_proxies, choice_notes, choose_for_job, proxy_names
from linbp.attack.job.images import (
    JobImages,
    check_list,
    has_targets,
    preparation_of,
    read_pool,
    scan,
    turned_note,
)
from linbp.attack.job.labels import check_classes, check_label_shift
from linbp.attack.job.report import FolderReport
from linbp.attack.job.store import AdversarialFolder
from linbp.attack.pool import Pool
from linbp.attack.prepare import Prepared, prepare
from linbp.attack.protocol import Protocol
from linbp.attack.published_protocols import find_protocol
from linbp.attack.recipe.recipe import Recipe
from linbp.attack.targets import TargetRule
from linbp.data.image_list import ImageRecord, list_sha256
from linbp.data.images import Pixels, pixel_sha256, size_batches
from linbp.errors import ImageError
from linbp.jobs.progress import ProgressCallback
from linbp.jobs.provenance import run_facts
from linbp.jobs.settings import refuse_other_settings
from linbp.models import Classifier

__all__ = ["FolderReport", "craft_folder", "craft_into"]


def craft_folder(
    model: Attackable,
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
    progress: ProgressCallback | None = None,
) -> FolderReport:
    """Make an adversarial image of every image in a list; run again, it makes only what is missing.

    The folder gets `<image id>.png`, one line of `records.jsonl` for each, and `manifest.json` with everything that the
    adversarial images depend on. Batch size, device, threads, command and versions may differ between runs of one
    folder and are noted for each run; everything else must stay as it is. Where one image of a batch is missing, the
    whole batch is computed again and the missing image written: with the same batch size it is bit for bit that of an
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
        progress: told about every task.

    Raises:
        ImageError: an image cannot be read, or a label is missing, out of range, or seems to count from 1.
        StoreError: the folder holds another job, is being written by another process, or the disk is full.
        RecipeError, BudgetError, ModelError, CaptureError, RuleError: as for `craft`.
    """
    config = AttackConfig.resolve(
        recipe,
        eps=eps,
        steps=steps,
        step_size=step_size,
        norm=norm,
        seed=seed,
        rounding=rounding,
        labels=labels,
        targets=has_targets(images),
        target_rule=target_rule,
        pool=pool is not None,
        protocol=find_protocol(protocol) if isinstance(protocol, str) else protocol,
        batch_size=batch_size,
    )
    return craft_into(
        folder,
        model,
        images,
        config,
        trust_labels=trust_labels,
        pool=pool,
        proxies=proxies,
        device=device,
        threads=threads,
        command=command,
        progress=progress,
    )


def craft_into(
    folder: str | os.PathLike[str],
    model: Attackable,
    images: Sequence[ImageRecord],
    config: AttackConfig,
    *,
    trust_labels: bool = False,
    pool: Pool | Sequence[ImageRecord] | None = None,
    proxies: Sequence[Classifier] = (),
    device: str | torch.device | None = None,
    threads: int = 4,
    command: str = "",
    progress: ProgressCallback | None = None,
) -> FolderReport:
    """`craft_folder` with settings that are resolved already."""
    tell = progress or (lambda task, done, total: None)
    check_list(images, config)
    check_proxies(config.recipe, proxies)
    preparation = preparation_of(config, models_of(model))
    if pool is not None and not isinstance(pool, Pool):
        pool = read_pool(pool, preparation, threads, tell)
    read = scan(JobImages(tuple(images), preparation, threads), tell)
    store = AdversarialFolder(folder)
    before = store.read_manifest()
    choice = None if before is None else before.get("choice")
    tell("capturing the surrogate", 0, 1)
    ensemble = as_ensemble(model, device)
    check_classes(ensemble, config, read)
    if before is None and config.labels == "given" and not trust_labels:
        check_label_shift(ensemble, read)
    if has_auto_start(config.recipe) and choice is None:
        choice = choose_for_job(ensemble, config, read, proxies, pool, tell).to_dict()
    recipe = config.recipe if choice is None else with_start(config.recipe, choice["start"])
    prepared = prepare(ensemble, recipe)
    tell("capturing the surrogate", 1, 1)
    wanted = {
        **config.to_dict(),
        "preparation": None if preparation is None else preparation.to_dict(),
        "members": len(ensemble.surrogates),
        "pool": None if pool is None else pool.sha256,
        "proxies": proxy_names(proxies),
        "images_sha256": list_sha256(read.records, read.hashes),
        "surrogate": ensemble.identity(),
    }
    with store.locked():
        manifest = store.read_manifest()
        if manifest is None:
            manifest = _new_manifest(wanted, config, read, prepared, choice)
        else:
            _refuse_other_settings(store.path, manifest["settings"], wanted, config.recipe)
        finished = store.finished(store.read_records())
        kept = len(finished)
        batches = [
            batch
            for batch in size_batches(read.sizes, config.batch_size)
            if any(read.ids[row] not in finished for row in batch)
        ]
        if batches:
            facts = run_facts(ensemble.device, command)
            manifest["runs"].append({**facts, "batch_size": config.batch_size, "threads": threads, "kept": kept})
            written = False
            for adv_image, record in _craft_all(prepared, config, read, batches, pool, tell):
                if not written:
                    # Only now: settings that the first batch refuses must not be those that bind the folder.
                    store.write_manifest(manifest)
                    store.write_records(list(finished.values()))
                    written = True
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


def _new_manifest(
    settings: dict[str, Any],
    config: AttackConfig,
    read: JobImages,
    prepared: Prepared,
    choice: dict[str, Any] | None,
) -> dict[str, Any]:
    return {
        "settings": settings,
        "recipe": prepared.recipe.to_dict(),
        "choice": choice,
        "protocol": None if config.protocol is None else config.protocol.to_dict(),
        "gradients_per_image": config.recipe.gradients(config.steps, settings["members"]),
        "images": len(read.records),
        "classes": prepared.ensemble.classes,
        "notes": [*choice_notes(choice), *config.notes, *prepared.notes, *turned_note(read.records)],
        "runs": [],
    }


def _refuse_other_settings(folder: Path, old: dict[str, Any], new: dict[str, Any], recipe: Recipe) -> None:
    """Refuse a folder that was started with other settings; a recipe may be written in another way.

    Raises:
        StoreError: it was.
    """
    same = recipe.is_written(str(old.get("recipe")))
    refuse_other_settings(folder, old, {**new, "recipe": old["recipe"]} if same else new)


def _craft_all(
    prepared: Prepared,
    config: AttackConfig,
    read: JobImages,
    batches: Sequence[Sequence[int]],
    pool: Pool | None,
    tell: ProgressCallback,
) -> Iterator[tuple[Pixels, dict[str, Any]]]:
    """Adversarial images and records of all images of the batches, in their order."""
    done, total = 0, sum(map(len, batches)) * config.recipe.all_steps(config.steps)
    tell("crafting", done, total)
    coming = read.pixels(row for batch in batches for row in batch)
    for batch in batches:
        one_size = [next(coming) for _ in batch]
        for row, pixels in zip(batch, one_size, strict=True):
            if pixel_sha256(pixels) != read.hashes[row]:
                raise ImageError(f"Image {read.records[row].path} was changed during the job.", "Start the job again.")

        def advance(count: int = len(batch)) -> None:
            nonlocal done
            done += count
            tell("crafting", done, total)

        images = [read.records[row] for row in batch]
        yield from zip(*craft_batch(prepared, config, images, np.stack(one_size), pool, advance), strict=True)
    next(coming, None)  # it ends here: where it is collected instead, a Ctrl-C would be lost
