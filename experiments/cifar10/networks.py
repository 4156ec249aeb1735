"""The networks and images of the CIFAR-10 experiments."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common.lines import lock
from torch.nn import functional

import linbp
from cifar10.jobs import SOURCE
from linbp.data.cifar10 import Cifar10
from linbp.data.files import write_atomically
from linbp.data.image_list import ImageRecord, list_images
from linbp.data.images import write_png
from linbp.errors import ModelError
from linbp.models.cifar10 import packaged, read_card
from linbp.training.lins import Tuning, linearize_folder

COUNT = 1000
"""Test images."""
PROXY_IMAGES = 24
TUNING = Tuning(
    epochs=5,
    batch_size=128,
    learning_rate=0.05,
    clip=1.0,
    augment=("flip", "crop"),
    mixed_precision=True,
)


def networks(zoo: Path | None, wanted: Sequence[str], device: str) -> dict[str, linbp.Model]:
    """The networks of an experiment by name, and its variants of a network where there are any.

    Args:
        zoo: a folder of `linbp zoo train --out`; None: those that ship with linbp.
        wanted: which there must be; none given: all that there are, the paper's source among them.
        device: where they run.

    Raises:
        ModelError: some are missing, or a folder holds another network than it is called after.
    """
    there = packaged() if zoo is None else {path.parent.name: path for path in sorted(zoo.glob("*/*.safetensors"))}
    names = wanted or tuple(dict.fromkeys((SOURCE, *filter(is_victim, there))))
    if missing := [name for name in names if name not in there]:
        raise ModelError(
            f"{'The package' if zoo is None else zoo} lacks {', '.join(missing)}.",
            f"Train them: linbp zoo train {' '.join(missing)} --data FOLDER --out ZOO.",
        )
    found = {}
    for name in (*names, *(name for name in there if not is_victim(name))):
        card = read_card(there[name])
        if card["architecture"] != name.partition("-")[0] or card.get("data") != "CIFAR-10":
            raise ModelError(
                f"{there[name]} is {card['architecture']} trained on {card.get('data')}.",
                f"Give a {name.partition('-')[0]} that was trained on the whole of CIFAR-10.",
            )
        found[name] = linbp.load_model(f"cifar10:{there[name]}").to(device)
        # The same arithmetic, in the layout of memory that convolutions are fastest in.
        found[name].module.to(memory_format=torch.channels_last)
    return found


@torch.no_grad()
def asked(model: Any, images: torch.Tensor, labels: torch.Tensor) -> tuple[list[int], float]:
    """Classes of uint8 images (N, 3, 32, 32), and the mean cross-entropy of their labels."""
    parts = [model.logits((part.float() / 255).to(model.device)).float().cpu() for part in images.split(250)]
    logits = torch.cat(parts)
    return logits.argmax(1).tolist(), round(float(functional.cross_entropy(logits, labels)), 4)


def is_victim(name: str) -> bool:
    """Whether a network is asked about adversarial images: not those that were made for one question only, as
    `resnet18-short`."""
    return "-" not in name


def sha256_of(model: linbp.Model) -> str:
    """The hash of the weights' file."""
    return str(model.source["file_sha256"])


def select(models: dict[str, linbp.Model], data: Cifar10) -> dict[str, Any]:
    """The first test images that every network has right, the next ones for choosing a position, and whose they are."""
    images = data.test_images.permute(0, 3, 1, 2)
    victims = {name: model for name, model in models.items() if is_victim(name)}
    classes = {name: asked(model, images, data.test_labels)[0] for name, model in victims.items()}
    right = {name: torch.tensor(found) == data.test_labels for name, found in classes.items()}
    rows = torch.stack(list(right.values())).all(0).nonzero().flatten().tolist()
    chosen = torch.tensor(rows[:COUNT])
    losses = {name: asked(model, images[chosen], data.test_labels[chosen])[1] for name, model in victims.items()}
    return {
        "networks": {name: sha256_of(model) for name, model in victims.items()},
        "accuracy": {name: round(float(found.float().mean()), 4) for name, found in right.items()},
        "loss": losses,
        "images": rows[:COUNT],
        "labels": data.test_labels[rows[:COUNT]].tolist(),
        "others": rows[COUNT : COUNT + PROXY_IMAGES],
        "right_on_all": len(rows),
    }


def training_files(data: Cifar10, folder: Path) -> tuple[ImageRecord, ...]:
    """The training images as PNGs with a list, as `linbp linearize` takes them; the first process makes them."""
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("a") as file:
        lock(file.fileno())
        if not (folder / "images.csv").is_file():
            text = io.StringIO()
            lines = csv.writer(text, lineterminator="\n")
            lines.writerow(["image_id", "file", "label"])
            for number, (pixels, label) in enumerate(zip(data.train_images, data.train_labels.tolist(), strict=True)):
                write_png(folder / f"{number:05}.png", pixels.numpy())
                lines.writerow([f"{number:05}", f"{number:05}.png", label])
            write_atomically(folder / "images.csv", text.getvalue().encode())
    return list_images(folder)


def own_smoothing(model: linbp.Model) -> float:
    """The label smoothing that a network of the zoo was trained with."""
    return float(read_card(Path(model.source["spec"].removeprefix("cifar10:")))["settings"]["label_smoothing"])


def linearised(
    model: linbp.Model, site: int, smoothing: float, data: Cifar10, work: Path, device: str
) -> tuple[linbp.Model, dict[str, Any]]:
    """What LinS makes of a model: activations from a site on removed, the rest tuned; and how good that is.

    Its accuracy is that on the test images, which neither training has used.
    """
    report = linearize_folder(
        model,
        site,
        training_files(data, work / "training"),
        work / f"{model.name.rpartition(':')[2].replace('/', '-')}-{site}-{smoothing:g}",
        tuning=replace(TUNING, label_smoothing=smoothing),
        device=device,
        trust_labels=True,
        checkpoint_every=200,
        command="experiments/cifar10/attack.py",
    )
    made = linbp.load_model(str(report.model_path)).to(device)
    found = torch.tensor(asked(made, data.test_images.permute(0, 3, 1, 2), data.test_labels)[0])
    right = int((found == data.test_labels).sum())
    print(f"LinS on {model.name} from site {site}: {right} of {len(found)} test images are right", flush=True)
    return made, {"right": right, "n": len(found), "file_sha256": report.manifest["result"]["file_sha256"]}
