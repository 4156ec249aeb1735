"""The main job on twenty images, offline: five attacks on one network, evaluated on three others."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from linbp.attack.config import AttackConfig
from linbp.attack.job.adversarial_folder import AdversarialFolder
from linbp.attack.job.craft_folder import craft_folder
from linbp.bench.cached_predictions import CachedPredictions
from linbp.bench.demonstrations import IMAGENET, Demonstration
from linbp.bench.picture_rows import Viewer, most_fooling, picture_row
from linbp.bench.pictures import draw_picture
from linbp.data.files import store_error, write_atomically
from linbp.data.image_list import ImageRecord, list_images
from linbp.data.images import read_image, write_png
from linbp.errors import ModelError, StoreError
from linbp.evaluation import Evaluation, evaluate_folder
from linbp.jobs.progress import ProgressCallback
from linbp.jobs.provenance import run_facts
from linbp.models import Model, load_model
from linbp.models.demo import DemoImages

__all__ = ["DemoResult", "RecipeResult", "run_demo"]

PICTURED = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeResult:
    """One line of the transfer table.

    Attributes:
        recipe: as text.
        folder: where its adversarial images lie.
        white_box: how it fared on the surrogate itself.
        victims: how it fared on each victim.
    """

    recipe: str
    folder: Path
    white_box: Evaluation
    victims: tuple[Evaluation, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demonstration found.

    Attributes:
        surrogate, victims: names of the networks.
        eps, steps: of all attacks.
        images: how many.
        recipes: one a recipe.
        picture: PNG of clean images, adversarial images, differences and predictions.
        seconds: how long it took.
        words: what people call each network.
        run: versions, device and time.
        remark: what to keep in mind when reading the table.
    """

    surrogate: str
    victims: tuple[str, ...]
    eps: str
    steps: int
    images: int
    recipes: tuple[RecipeResult, ...]
    picture: Path
    seconds: float
    words: dict[str, str]
    run: dict[str, Any]
    remark: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "surrogate": self.surrogate,
            "victims": list(self.victims),
            "eps": self.eps,
            "steps": self.steps,
            "images": self.images,
            "recipes": [
                {
                    "recipe": line.recipe,
                    "folder": str(line.folder),
                    "white_box": line.white_box.to_dict(),
                    "victims": [evaluation.to_dict() for evaluation in line.victims],
                }
                for line in self.recipes
            ],
            "picture": str(self.picture),
            "seconds": round(self.seconds, 1),
            "run": self.run,
            "remark": self.remark,
        }


def run_demo(
    out: Path | str,
    demonstration: Demonstration = IMAGENET,
    *,
    recipes: Mapping[str, str] | None = None,
    images: int = 20,
    steps: int | None = None,
    batch_size: int = 10,
    progress: ProgressCallback | None = None,
) -> DemoResult:
    """Craft adversarial images of twenty images on one network with five recipes, and evaluate three others on them.

    `out` gets `clean/` (the images and `images.csv`), one folder of adversarial images for each recipe, as `linbp
    craft` writes it, `demo.png` and `results.json`. Run again, it keeps the adversarial images that are finished.

    Args:
        out: a folder, new or of an earlier run of the same demonstration.
        demonstration: photographs of ImageNet (`IMAGENET`) or images of CIFAR-10 (`CIFAR10`).
        recipes: folder names and recipes; default: the demonstration's.
        images: how many of the 20 images.
        steps: of each attack, 1/255 each; default: the demonstration's.
        batch_size: images at a time.
        progress: called as every stage goes on.

    Raises:
        ModelError: the packages of the extra `demo` are not installed.
        StoreError: the folder cannot be written, or holds something else.
    """
    started, folder, tell = time.monotonic(), Path(out), progress or (lambda stage, done, total: None)
    facts = run_facts("cpu", "linbp demo")  # now: it says when the run began
    chosen = demonstration.recipes if recipes is None else recipes
    steps = demonstration.steps if steps is None else steps
    networks = _load(demonstration, tell)
    surrogate = networks[0].model
    if not isinstance(surrogate, Model):
        raise ModelError(f"{demonstration.surrogate} gives no gradients.", "Reinstall linbp.")
    clean = _write_clean(folder / "clean", demonstration.images(), images)
    # A small surrogate gets many of these images wrong, so that its predictions are no judge of the labels.
    for number, (name, recipe) in enumerate(chosen.items()):
        craft_folder(
            surrogate,
            clean,
            folder / name,
            AttackConfig.resolve(
                recipe, eps=f"{demonstration.levels}/255", steps=steps, step_size="1/255", batch_size=batch_size
            ),
            trust_labels=True,
            command="linbp demo",
            progress=_share(tell, "attacking", ("crafting",), number, len(chosen)),
        )
    lines = []
    for number, (name, recipe) in enumerate(chosen.items()):
        names = tuple(demonstration.words)
        report = _share(tell, "asking the networks", names, number, len(chosen), of_each=len(networks))
        found = evaluate_folder(folder / name, networks, batch_size=batch_size, progress=report).evaluations
        lines.append(RecipeResult(recipe=recipe, folder=folder / name, white_box=found[0], victims=found[1:]))
    tell("drawing", 0, 1)
    picture = _picture(folder, clean, lines[-1], networks, demonstration, steps)
    tell("drawing", 1, 1)
    result = DemoResult(
        surrogate=demonstration.surrogate,
        victims=demonstration.victims,
        eps=f"{demonstration.levels}/255",
        steps=steps,
        images=len(clean),
        recipes=tuple(lines),
        picture=picture,
        seconds=time.monotonic() - started,
        words=demonstration.words,
        run=facts,
        remark=demonstration.remark,
    )
    write_atomically(folder / "results.json", (json.dumps(result.to_dict(), indent=2) + "\n").encode())
    return result


def _load(demonstration: Demonstration, tell: ProgressCallback) -> tuple[CachedPredictions, ...]:
    """Surrogate and victims."""
    networks, names = [], (demonstration.surrogate, *demonstration.victims)
    for number, name in enumerate(names):
        tell("loading the networks", number, len(names))
        networks.append(CachedPredictions(load_model(name)))
    tell("loading the networks", len(names), len(names))
    return tuple(networks)


def _write_clean(folder: Path, samples: DemoImages, count: int) -> tuple[ImageRecord, ...]:
    """The clean images as PNGs with a list, as a user's own would be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise store_error(folder, error) from error
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image_id", "file", "label"])
    pictures = list(zip(samples.ids, samples.images, strict=True))[:count]
    for (name, _), label in zip(pictures, samples.labels.tolist(), strict=False):
        writer.writerow([name, f"{name}.png", label])
    content = text.getvalue().encode()
    if (folder / "images.csv").is_file() and (folder / "images.csv").read_bytes() != content:
        raise StoreError(
            f"{folder} holds another list of images.", "Choose a new folder for the demonstration (--out)."
        )
    for name, pixels in pictures:
        write_png(folder / f"{name}.png", pixels.permute(1, 2, 0).numpy())
    write_atomically(folder / "images.csv", content)
    return list_images(folder)


def _share(
    tell: ProgressCallback, stage: str, watched: tuple[str, ...], number: int, count: int, *, of_each: int = 1
) -> ProgressCallback:
    """A callback for one of several parts, which reports on one stage for all of them.

    Args:
        tell: the callback of the whole.
        stage: name of the whole.
        watched: the stages of the part that count, one after the other.
        number: which part this is.
        count: how many parts there are.
        of_each: how many watched stages each part has.
    """
    scale = 1000
    finished: set[str] = set()

    def report(part: str, done: int, total: int) -> None:
        if part not in watched or total == 0:
            return
        if done == total:
            finished.add(part)
        within = len(finished) if done == total else len(finished) + done / total
        tell(stage, int(scale * (number + within / of_each)), scale * count)

    return report


def _picture(
    folder: Path,
    clean: Sequence[ImageRecord],
    line: RecipeResult,
    networks: Sequence[CachedPredictions],
    demonstration: Demonstration,
    steps: int,
) -> Path:
    """Draw the images whose adversarial images fooled most victims."""
    store, rows = AdversarialFolder(line.folder), []
    viewers: list[Viewer] = []
    for network in networks:
        role = " (surrogate)" if network.name == demonstration.surrogate else ""
        viewers.append((demonstration.words[network.name] + role, network, None))
    for row in most_fooling(line.victims, PICTURED):
        record = clean[row]
        pixels, adv = read_image(record.path), read_image(store.adv_path(record.image_id))
        rows.append(picture_row(line.white_box.records[row].label, pixels, adv, viewers, networks[0].class_names))
    path, name = folder / "demo.png", demonstration.words[demonstration.surrogate]
    draw_picture(
        path,
        rows,
        title=f"{line.recipe} on {name}, at most {demonstration.levels} of 255 levels a pixel, {steps} steps",
        remark=f"Shown are those of the {len(clean)} images that fooled most of the three victims, which the "
        "attack never asked. A cross marks a wrong answer.",
        levels=demonstration.levels,
    )
    return path
