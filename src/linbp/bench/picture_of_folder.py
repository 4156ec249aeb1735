"""The demonstration's picture for any folder of adversarial images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from linbp.attack.job.adversarial_folder import AdversarialFolder
from linbp.bench.cached_predictions import CachedPredictions
from linbp.bench.picture_rows import Viewer, most_fooling, picture_row
from linbp.bench.pictures import draw_picture
from linbp.data.image_list import list_images
from linbp.data.images import read_image
from linbp.data.preprocessing import Preparation
from linbp.errors import ImageError, nearest_name
from linbp.evaluation import FolderEvaluation, attack_facts, evaluate_folder
from linbp.evaluation.predict import load_victim
from linbp.evaluation.victim_input import preprocessing_for
from linbp.jobs.progress import ProgressCallback

__all__ = ["draw_folder"]


def draw_folder(
    folder: str | os.PathLike[str],
    victims: Sequence[str],
    out: str | os.PathLike[str],
    *,
    images: int = 5,
    image_ids: Sequence[str] = (),
    words: Mapping[str, str] | None = None,
    surrogate: str | None = None,
    data: str | os.PathLike[str] | None = None,
    batch_size: int = 32,
    device: str | None = None,
    threads: int = 4,
    progress: ProgressCallback | None = None,
) -> FolderEvaluation:
    """Write a PNG with some images of a folder: clean, adversarial, the difference, and what the victims see in both.

    Args:
        folder: that `craft_folder` made.
        victims: names of the networks; the surrogate may be one of them, and is then marked.
        out: the PNG file.
        images: how many are shown: those that fool most victims.
        image_ids: names of images to show instead.
        words: what the picture calls the victims, by their names in `victims`; default: as they are loaded.
        surrogate: what it calls the surrogate; default likewise.
        data: the list of clean images, if they do not lie any more where they lay.
        batch_size: images at a time.
        device: where the networks run.
        threads: that decode images.
        progress: called as every stage goes on.

    Returns:
        What the victims answered on all images.

    Raises:
        ImageError: there is no image of a name in `image_ids`.
        StoreError, ModelError: as for `evaluate_folder`, or the file cannot be written.
    """
    networks = [CachedPredictions(load_victim(name, device), reuse=False) for name in victims]
    found = evaluate_folder(folder, networks, data=data, batch_size=batch_size, threads=threads, progress=progress)
    records = found.evaluations[0].records
    ids = [record.image_id for record in records]
    for name in image_ids:
        if name not in ids:
            raise ImageError(f"{folder} has no image {name!r}.", nearest_name(name, ids))
    strangers = [one for one in found.evaluations if one.role != "white box"] or list(found.evaluations)
    rows = [ids.index(name) for name in image_ids] or most_fooling(strangers, images)
    viewers: list[Viewer] = []
    for asked, network, evaluation in zip(victims, networks, found.evaluations, strict=True):
        # A protocol's preprocessing may need what only the network itself says.
        apply = preprocessing_for(network.model, found.manifest, found.victim_input).apply
        role = " (surrogate)" if evaluation.role == "white box" else ""
        viewers.append(((words or {}).get(asked, evaluation.name) + role, network.model, apply))
    classes = next((names for network in networks if (names := network.class_names)), ())
    store, prepared = AdversarialFolder(folder), found.manifest["settings"].get("preparation")
    recorded = store.read_records()
    moved = {} if data is None else {image.image_id: image.path for image in list_images(data)}
    drawn = []
    for row in rows:
        name = ids[row]
        path = moved.get(name, Path(recorded[name]["file"]))
        clean = read_image(path)
        if prepared is not None:
            clean = Preparation.from_dict(prepared).apply(clean, f"Image {path}")
        drawn.append(picture_row(records[row].label, clean, read_image(store.adv_path(name)), viewers, classes))
    attack = attack_facts(found.manifest)
    levels = max(record.linf for record in records)
    size = f"at most {levels} of 255 levels a pixel" if attack["norm"] == "linf" else f"L2 at most {attack['eps']:.4g}"
    shown = (
        "Shown are the images that were named"
        if image_ids
        else f"Shown are those of {len(ids)} images that fool most networks"
    )
    draw_picture(
        out,
        drawn,
        title=f"{attack['recipe']} on {surrogate or attack['surrogate']}, {size}, {attack['steps']} steps",
        remark=f"{shown}. A cross marks a wrong answer.",
        levels=levels,
    )
    return found
