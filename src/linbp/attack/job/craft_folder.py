"""The resumable job: every image of a list becomes an adversarial image in a folder, and nothing finished is made
twice or lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import torch

from linbp.attack.choose_start import has_auto_start, with_start
from linbp.attack.config import AttackConfig
from linbp.attack.ensemble import Attackable, as_ensemble, models_of
from linbp.attack.first_use import check_first_use, foreign_parts
from linbp.attack.job.adversarial_folder import AdversarialFolder
from linbp.attack.job.chosen_start import check_proxies, choose_for_job, proxy_names
from linbp.attack.job.images import (
    JobImages,
    check_list,
    check_place,
    preparation_of,
    read_pool,
    scan,
)
from linbp.attack.job.labels import check_answers, check_classes, check_label_shift, inputs_of, with_numbers
from linbp.attack.job.manifest import job_settings, new_manifest
from linbp.attack.job.report import FolderReport
from linbp.attack.job.resume import craft_missing
from linbp.attack.pool import Pool
from linbp.attack.prepare import prepare
from linbp.data.image_list import ImageRecord, list_sha256, not_used
from linbp.jobs.progress import ProgressCallback
from linbp.jobs.provenance import run_facts
from linbp.models import Classifier
from linbp.models.plain_mode import plain_mode

__all__ = ["FolderReport", "craft_folder"]


@plain_mode()
def craft_folder(
    model: Attackable,
    images: Sequence[ImageRecord],
    folder: str | os.PathLike[str],
    config: AttackConfig,
    *,
    trust_labels: bool = False,
    trust_parts: bool = False,
    pool: Pool | Sequence[ImageRecord] | None = None,
    proxies: Sequence[Classifier] = (),
    device: str | torch.device | None = None,
    threads: int = 4,
    command: str = "",
    progress: ProgressCallback | None = None,
    on_note: Callable[[str], None] | None = None,
) -> FolderReport:
    """Make an adversarial image of every image in a list; run again, it makes only what is missing.

    The folder gets `<image id>.png`, one line of `records.jsonl` for each, and `manifest.json` with everything that the
    adversarial images depend on. Batch size, device, threads, command and versions may differ between runs of one
    folder and are noted for each run; everything else must stay as it is. Where one image of a batch is missing, the
    whole batch is computed again and the missing image written: with the same batch size it is bit for bit that of an
    uninterrupted run, also in float32 on a GPU, where the last digits may depend on the companions of a batch.

    Args:
        model: the surrogate, or an ensemble of several.
        images: from `list_images`.
        folder: new, empty, or started by the same job.
        config: resolved for these images: with `targets=has_targets(images)` and `pool=pool is not None`.
        trust_labels: do not suspect labels of counting from 1.
        trust_parts: do not look at parts of other packages at their first use.
        pool: images that `admix` mixes in, or their files from `list_images`, which a protocol prepares as it prepares
            the images under attack. They may be those.
        proxies: networks that choose the start of a rule with `start=auto`, on up to eight of the images.
        device: where the surrogate runs; default: where the model is.
        threads: that decode images.
        command: what the user typed, for the manifest.
        progress: told about every task.
        on_note: told, before anything is made, what should be known of the labels.

    Raises:
        ImageError: an image cannot be read, or a label is missing, out of range, or seems to count from 1.
        StoreError: the folder holds another job, is being written by another process, or the disk is full.
        RecipeError, BudgetError, ModelError, CaptureError, RuleError: as for `craft`.
    """
    tell = progress or (lambda task, done, total: None)
    check_list(images, config)
    check_place(folder, images)
    check_proxies(config.recipe, proxies)
    preparation = preparation_of(config, models_of(model))
    if pool is not None and not isinstance(pool, Pool):
        pool = read_pool(pool, preparation, threads, tell)
    job_images = scan(JobImages(images, preparation, threads), tell)
    store = AdversarialFolder(folder)
    before = store.read_manifest()
    choice = None if before is None else before.get("choice")
    tell("capturing the surrogate", 0, 1)
    ensemble = as_ensemble(model, device, config.group_size, config.compiled)
    job_images = with_numbers(ensemble, config, job_images)
    images = job_images.records
    list_notes = getattr(images, "notes", ())
    if on_note is not None:
        for note in list_notes:
            on_note(note)
    check_classes(ensemble, config, job_images)
    if before is None:
        check_answers(ensemble, job_images)
    if before is None and config.labels == "given" and not trust_labels:
        check_label_shift(ensemble, job_images)
    if has_auto_start(config.recipe) and choice is None:
        choice = choose_for_job(ensemble, config, job_images, proxies, pool, tell).to_dict()
    recipe = config.recipe if choice is None else with_start(config.recipe, choice["start"])
    prepared = prepare(ensemble, recipe)
    if not trust_parts and foreign_parts(prepared):
        check_first_use(prepared, config, inputs_of(ensemble, config, job_images, [0]), pool)
    tell("capturing the surrogate", 1, 1)
    unused = not_used(images)
    wanted = job_settings(
        config,
        preparation,
        ensemble.identity(),
        [rule for surrogate in ensemble.surrogates for rule in surrogate.rules],
        pool=None if pool is None else pool.sha256,
        proxies=proxy_names(proxies),
        images_sha256=list_sha256(job_images.records, job_images.hashes),
    )
    manifest, finished, kept = craft_missing(
        store,
        wanted,
        lambda: new_manifest(wanted, config, images, unused, prepared, choice, trust_parts),
        {**run_facts(ensemble.device, command), "threads": threads, "trust_parts": trust_parts},
        prepared,
        config,
        job_images,
        pool,
        tell,
    )
    return FolderReport(
        folder=store.path,
        made=len(job_images.ids) - kept,
        kept=kept,
        unused=unused,
        manifest=manifest,
        records=tuple(finished[image_id] for image_id in job_images.ids),
        list_notes=list_notes,
    )
