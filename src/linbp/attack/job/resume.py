"""Resume a folder of adversarial images: what is finished stays, what is missing is made, in batches as before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linbp.attack.config import AttackConfig
from linbp.attack.job.adversarial_folder import AdversarialFolder
from linbp.attack.job.batch import craft_batch
from linbp.attack.job.images import JobImages
from linbp.attack.job.report import result_notes
from linbp.attack.pool import Pool
from linbp.attack.prepare import Prepared
from linbp.attack.recipe.recipe import Recipe
from linbp.data.images import Pixels, pixel_sha256, size_batches
from linbp.errors import ImageError, LinbpError, StoreError
from linbp.jobs.progress import ProgressCallback
from linbp.jobs.settings import refuse_other_settings

__all__ = ["craft_missing"]

Records = dict[str, dict[str, Any]]


def craft_missing(
    folder: AdversarialFolder,
    settings: dict[str, Any],
    new_manifest: Callable[[], dict[str, Any]],
    run: Mapping[str, Any],
    prepared: Prepared,
    config: AttackConfig,
    images: JobImages,
    pool: Pool | None,
    tell: ProgressCallback,
) -> tuple[dict[str, Any], Records, int]:
    """Make the adversarial images that a folder lacks; where one of a batch is missing, the whole batch is computed.

    Args:
        folder: new, or of the same job.
        settings: of the job, which those in the folder's manifest must be.
        new_manifest: makes the manifest of a folder that has none.
        run: facts of this run, for the manifest.
        prepared: the recipe on its surrogates.
        config: of the attack.
        images: scanned.
        pool: images to mix in.
        tell: told about every step.

    Returns:
        The manifest, a record of every image by its id, and how many images were finished before.

    Raises:
        StoreError: the folder was started with other settings, is locked, or cannot be written.
        ImageError: an image was changed during the job.
    """
    with folder.locked():
        manifest = folder.read_manifest()
        if manifest is None:
            manifest = new_manifest()
        else:
            _refuse_other_settings(folder.path, manifest["settings"], settings, config.recipe)
            _refuse_other_parts(folder.path, manifest["recipe"], prepared.recipe)
        finished = folder.finished(folder.read_records())
        kept = len(finished)
        batches = [
            batch
            for batch in size_batches(images.sizes, config.batch_size)
            if any(images.ids[row] not in finished for row in batch)
        ]
        if batches:
            manifest["runs"].append({**run, "batch_size": config.batch_size, "kept": kept})
            written = False
            for adv_image, record in _craft_all(prepared, config, images, batches, pool, tell):
                if not written:
                    # Only now: settings that the first batch refuses must not be those that bind the folder.
                    folder.write_manifest(manifest)
                    folder.write_records(list(finished.values()))
                    written = True
                if record["image_id"] not in finished:
                    folder.add(adv_image, record)
                    finished[record["image_id"]] = record
            # The order of the list, whatever was interrupted when.
            records = [finished[image_id] for image_id in images.ids]
            folder.write_records(records)
            manifest["notes"] = [*new_manifest()["notes"], *result_notes(records, config.targeted)]
            folder.write_manifest(manifest)
    return manifest, finished, kept


def _refuse_other_settings(folder: Path, old: dict[str, Any], new: dict[str, Any], recipe: Recipe) -> None:
    """Refuse a folder that was started with other settings; a recipe may be written in another way.

    Raises:
        StoreError: it was.
    """
    same = recipe.is_written(str(old.get("recipe")))
    refuse_other_settings(folder, old, {**new, "recipe": old["recipe"]} if same else new)


def _refuse_other_parts(folder: Path, old: Mapping[str, Any], recipe: Recipe) -> None:
    """Refuse a folder whose recipe had the same text and other parameters, as after a change of defaults.

    Raises:
        StoreError: it had.
    """
    try:
        before = Recipe.from_dict({name: old[name] for name in old if name != "text"})
    except LinbpError:  # of a version that had other parts or parameters
        before = None
    if before != recipe:
        was = "parts that are gone" if before is None else _written_out(before)
        raise StoreError(
            f"{folder} was started with other settings: {recipe} meant {was}, and now means {_written_out(recipe)}.",
            "Choose a new folder (--out), write the old parameters, or go back to the version of that time.",
        )


def _written_out(recipe: Recipe) -> str:
    return " >> ".join(stage.written_out() for stage in recipe.stages)


def _craft_all(
    prepared: Prepared,
    config: AttackConfig,
    images: JobImages,
    batches: Sequence[Sequence[int]],
    pool: Pool | None,
    tell: ProgressCallback,
) -> Iterator[tuple[Pixels, dict[str, Any]]]:
    """Adversarial images and records of all images of the batches, in their order."""
    done, total = 0, sum(map(len, batches)) * config.recipe.all_steps(config.steps)
    tell("crafting", done, total)
    coming = images.pixels(row for batch in batches for row in batch)
    for batch in batches:
        one_size = [next(coming) for _ in batch]
        for row, pixels in zip(batch, one_size, strict=True):
            if pixel_sha256(pixels) != images.hashes[row]:
                raise ImageError(
                    f"Image {images.records[row].path} was changed during the job.", "Start the job again."
                )

        def advance(count: int = len(batch)) -> None:
            nonlocal done
            done += count
            tell("crafting", done, total)

        records = [images.records[row] for row in batch]
        yield from zip(*craft_batch(prepared, config, records, np.stack(one_size), pool, advance), strict=True)
    next(coming, None)  # it ends here: where it is collected instead, a Ctrl-C would be lost
