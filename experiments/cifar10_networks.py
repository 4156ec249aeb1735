"""The networks and images of the CIFAR-10 experiments."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import torch

import linbp
from linbp.image_list import ImageRecord, list_images
from linbp.images import write_atomically, write_png
from linbp.linearize import Tuning, linearize_folder
from linbp.models.cifar10.trained import packaged
from linbp.zoo import Cifar10

COUNT = 1000
"""Test images."""
PROXY_IMAGES = 24


def networks(zoo: Path | None) -> dict[str, linbp.Model]:
    """All trained networks by name: those in a folder of `linbp zoo train`, or those that ship with linbp.

    A network has the name of its folder; one that was made for a single question has a hyphen in it (`is_victim`).
    """
    places = packaged() if zoo is None else {path.parent.name: path for path in sorted(zoo.glob("*/*.safetensors"))}
    return {name: linbp.load_model(f"cifar10:{path}") for name, path in places.items()}


def predictions(model: Any, images: torch.Tensor) -> list[int]:
    """Classes of uint8 images (N, 3, 32, 32)."""
    with torch.no_grad():
        return [int(found) for part in images.split(250) for found in model.logits(part.float() / 255).argmax(1)]


def is_victim(name: str) -> bool:
    """Whether a network is asked about twins: not those that were made for one question only, as `resnet18-short`."""
    return "-" not in name


def select(models: dict[str, linbp.Model], data: Cifar10) -> dict[str, Any]:
    """The first test images that every network has right, the next ones for choosing a position, and whose they are."""
    images = data.test_images.permute(0, 3, 1, 2)
    right = torch.ones(len(images), dtype=torch.bool)
    for model in (model for name, model in models.items() if is_victim(name)):
        right &= torch.tensor(predictions(model, images)) == data.test_labels
    rows = right.nonzero().flatten().tolist()
    return {
        "networks": {name: model.source["file_sha256"] for name, model in models.items()},
        "images": rows[:COUNT],
        "labels": data.test_labels[rows[:COUNT]].tolist(),
        "others": rows[COUNT : COUNT + PROXY_IMAGES],
        "right_on_all": len(rows),
    }


def training_files(data: Cifar10, folder: Path) -> tuple[ImageRecord, ...]:
    """The training images as PNGs with a list, as `linbp linearize` takes them."""
    if not (folder / "images.csv").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(["image_id", "file", "label"])
        for number, (pixels, label) in enumerate(zip(data.train_images, data.train_labels.tolist(), strict=True)):
            write_png(folder / f"{number:05}.png", pixels.numpy())
            lines.writerow([f"{number:05}", f"{number:05}.png", label])
        write_atomically(folder / "images.csv", text.getvalue().encode())
    return list_images(folder)


def linearised(
    model: linbp.Model, site: int, data: Cifar10, work: Path, device: str
) -> tuple[linbp.Model, dict[str, Any]]:
    """What LinS makes of a model: activations from a site on removed, the rest tuned; and how good that is.

    Its accuracy is that on the test images, which neither training has seen.
    """
    report = linearize_folder(
        model,
        site,
        training_files(data, work / "training"),
        work / f"{model.name.rpartition(':')[2].replace('/', '-')}-{site}",
        tuning=Tuning(epochs=5, batch_size=128, learning_rate=0.05, label_smoothing=0.1, augment=("flip", "crop")),
        device=device,
        trust_labels=True,
        checkpoint_every=200,
        command="experiments/cifar10.py",
    )
    made = linbp.load_model(str(report.model_path))
    found = torch.tensor(predictions(made, data.test_images.permute(0, 3, 1, 2)))
    right = int((found == data.test_labels).sum())
    print(f"LinS on {model.name} from site {site}: {right} of {len(found)} test images are right", flush=True)
    return made, {"right": right, "n": len(found), "file_sha256": report.manifest["result"]["file_sha256"]}
