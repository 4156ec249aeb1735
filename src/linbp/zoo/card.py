"""The card of a trained network, as JSON for machines and as Markdown for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from linbp.data.cifar10 import CIFAR10_SHA256
from linbp.zoo.architectures import CLASS_NAMES, INPUT_SIZE, MEAN, STD, count_parameters, find_architecture
from linbp.zoo.settings import Training

__all__ = ["make_card", "make_page"]

LAYOUT = "zoo card 1"
_HASHES = ("data_sha256", "first_weights")


def make_card(
    name: str,
    settings: Mapping[str, Any],
    history: list[dict[str, Any]],
    runs: list[dict[str, Any]],
    *,
    images: tuple[int, int],
    right: int,
    seconds: float,
    weights: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that made the weights and what they are worth.

    Args:
        name: of the network.
        settings: of the training, with the hashes of the data and of the weights that it started from, if it was given
            any.
        history: one entry an epoch.
        runs: versions, device and command of each run that took part.
        images: numbers of training and of test images.
        right: how many test images the shipped weights put into their class.
        seconds: of training and measuring, over all runs.
        weights: the file's name, bytes and hash, and the hash of the network that it gives (as results record it).
    """
    architecture, width = settings["architecture"], settings["width"]
    return {
        "format": LAYOUT,
        "name": name,
        "architecture": architecture,
        "summary": find_architecture(architecture).summary,
        "width": width,
        "parameters": count_parameters(architecture, width),
        "seed": settings["seed"],
        "epochs": settings["epochs"],
        "accuracy": {"right": right, "n": images[1], "share": right / images[1]},
        "training_images": images[0],
        "data": "CIFAR-10" if settings["data_sha256"] == CIFAR10_SHA256 else "not the whole of CIFAR-10",
        "input_size": list(INPUT_SIZE),
        "mean": list(MEAN),
        "std": list(STD),
        "classes": list(CLASS_NAMES),
        **weights,
        "minutes": round(seconds / 60, 2),
        "device": runs[-1]["device"],
        "command": runs[-1]["command"],
        "versions": runs[-1]["versions"],
        "settings": dict(settings),
        "runs": runs,
        "last_epoch": history[-1],
    }


def make_page(card: Mapping[str, Any]) -> str:
    """The card as a page of Markdown."""
    accuracy, settings = card["accuracy"], card["settings"]
    rows = [
        ("Architecture", f"`{card['architecture']}`, width {card['width']:g}: {card['summary']}"),
        ("Parameters", f"{card['parameters']:,}"),
        (
            "Accuracy",
            f"{accuracy['share']:.2%}: {accuracy['right']} of {accuracy['n']} test images, measured with these weights",
        ),
        ("Data", f"{card['data']}, {card['training_images']} training images"),
        ("Input", "RGB in [0, 1], 32 x 32, minus mean, over std: " + f"{card['mean']}, {card['std']}"),
        ("Seed", str(card["seed"])),
        ("Epochs", str(card["epochs"])),
        ("Training", _recipe(Training(**{key: value for key, value in settings.items() if key not in _HASHES}))),
        *([("First weights", f"`{settings['first_weights']}`")] if settings.get("first_weights") else []),
        ("Device", f"{card['device']}, {card['minutes']:g} minutes, {len(card['runs'])} run(s)"),
        ("Versions", ", ".join(f"{package} {number}" for package, number in card["versions"].items())),
        ("Command", f"`{card['command']}`"),
        ("File", f"`{card['file']}`, {card['bytes']:,} bytes, 16-bit floats"),
        ("SHA-256", f"`{card['file_sha256']}`"),
    ]
    lines = [f"# {card['name']}", "", "Trained by linbp's zoo.", "", "| | |", "|---|---|"]
    lines += [f"| {head} | {text} |" for head, text in rows]
    lines += [
        "",
        "The weights are an exponential average over the training's steps. No weights were chosen by their accuracy on "
        "the test images: these are the last ones.",
    ]
    return "\n".join(lines) + "\n"


def _recipe(settings: Training) -> str:
    optimizer = "SGD, Nesterov's momentum 0.9" if settings.optimizer == "sgd" else "AdamW"
    words = [
        optimizer,
        f"rate up to {settings.highest_rate:g} over {settings.warm_up:.0%} of the steps, then linearly to 0",
        *([f"every activation is {settings.activation.upper()}"] if settings.activation else []),
        f"batches of {settings.batch_size}",
        f"decoupled weight decay {settings.weight_decay:g} of weights of rank above 1",
        f"label smoothing {settings.label_smoothing:g}",
        f"shifts of up to {settings.crop} pixels, mirrored every other epoch",
        *([f"epochs without shifts, the last ones: {settings.unshifted_epochs}"] if settings.unshifted else []),
        *([f"CutMix in {settings.cutmix:.0%} of the steps"] if settings.cutmix else []),
        f"weights averaged over {settings.average:g} epoch{'' if settings.average == 1 else 's'}",
        "bfloat16 where it is safe" if settings.precision == "mixed" else "float32",
    ]
    return "; ".join(words)
