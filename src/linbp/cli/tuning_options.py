"""Options that commands which train a network further share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = [
    "AUGMENTATIONS",
    "PRECISIONS",
    "Augment",
    "CheckpointEvery",
    "FirstLabel",
    "Network",
    "Out",
    "Precision",
    "Seed",
    "TrainingData",
    "TrustLabels",
    "Validation",
    "read_number",
    "read_share",
]

AUGMENTATIONS: dict[str, tuple[Literal["flip", "crop"], ...]] = {
    "none": (),
    "flip": ("flip",),
    "crop": ("crop",),
    "flip+crop": ("flip", "crop"),
}
PRECISIONS = {"auto": None, "full": False, "mixed": True}

Network = Annotated[str, typer.Argument(metavar="MODEL", help="The network, such as timm:resnet18.a1_in1k.")]
TrainingData = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="FOLDER_OR_CSV",
        help="Training images: a CSV (file,label), or a folder with images.csv or one sub-folder a class.",
    ),
]
Out = Annotated[
    Path,
    typer.Option("--out", metavar="DIR", help="Folder of the result; the same command goes on after an interruption."),
]
Validation = Annotated[
    str, typer.Option("--validation", metavar="SHARE_OR_FOLDER", help="A share to hold out, or other images.")
]
Augment = Annotated[
    Literal["none", "flip", "crop", "flip+crop"],
    typer.Option("--augment", metavar="HOW", help="flip, crop or flip+crop: mirror training images, shift them."),
]
Precision = Annotated[
    Literal["auto", "full", "mixed"],
    typer.Option("--precision", help="mixed: bfloat16 where it is safe. auto: on GPUs that have it."),
]
Seed = Annotated[int, typer.Option("--seed", help="Of order, augmentation, held-out images and dropout.")]
CheckpointEvery = Annotated[int, typer.Option("--checkpoint-every", help="Steps between checkpoints inside an epoch.")]
FirstLabel = Annotated[int, typer.Option("--first-label", help="What the list calls the first class: 0 or 1.")]
TrustLabels = Annotated[bool, typer.Option("--trust-labels", help="Do not suspect that labels are shifted.")]


def read_number(text: str) -> int | float | None:
    """A number as it is written, or None for other words."""
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return None


def read_share(text: str) -> float | None:
    """A number as a float, or None for other words: whole numbers may be larger than any."""
    number = read_number(text)
    if number is None:
        return None
    return float(number) if abs(number) < 2**53 else float("inf")
