"""Images, adversarial images and a victim in memory: how many adversarial images fool it?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from linbp.data.arrays import CHECKED, as_classes, as_images, as_levels, check_levels
from linbp.data.images import Pixels, distances, size_batches
from linbp.errors import ImageError
from linbp.evaluation.ask import Questions, ask
from linbp.evaluation.predict import load_victim
from linbp.evaluation.result import Evaluation
from linbp.evaluation.victim_input import VictimPreprocessing
from linbp.evaluation.victim_labels import PREDICTED, VictimLabels, in_list
from linbp.models import Classifier

__all__ = ["Evaluation", "evaluate"]


def evaluate(
    model_or_name: Classifier | str,
    images: Any,
    adv: Any,
    labels: Any,
    *,
    targets: Any = None,
    ids: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    trust_labels: bool = False,
    trust_victim: bool = False,
    batch_size: int = 32,
) -> Evaluation:
    """How many of the adversarial images fool the victim, counted on the 8-bit images.

    Untargeted, a success is a victim that was right on the clean image and is wrong on the adversarial image, over the
    images it was right on. Targeted, it is an adversarial image taken for the target, over those of them whose target
    is not their label.

    Args:
        model_or_name: a model, or its name for `load_model`.
        images: clean images (N, 3, H, W), a tensor, an array or a sequence of images: uint8, or floats k/255 in [0, 1].
        adv: adversarial images of the same shape, of any floating-point precision.
        labels: integers (N,), counted from 0; or names of the victim's classes; or `predicted`, for the victim's own
            predictions of the clean images.
        targets: integers (N,), for targeted attacks.
        ids: the images' names; default: `0`, `1`, ...
        classes: names of the victim's classes in their order, where it names none itself.
        trust_labels: do not suspect that the network numbers its classes otherwise than the labels.
        trust_victim: neither ask the network again, about a few images in other company, nor try other preprocessing
            if it is often wrong.
        batch_size: images at a time.

    Raises:
        ImageError: shapes do not fit, or values are not on the 8-bit grid.
        ModelError: the network cannot be loaded, has too few classes, gives NaN, numbers its classes otherwise, or its
            answers depend on chance or on the batch.
    """
    given, made = as_images(_whole(images)), as_images(_whole(adv), "adversarial images")
    if given.shape != made.shape:
        raise ImageError(
            f"Images have shape {tuple(given.shape)} and adversarial images {tuple(made.shape)} (N, channels, H, W).",
            "Give one adversarial image of the same size for each image.",
        )
    named = _named(labels, classes, len(given))
    wanted = [0] * len(given) if named is not None else as_classes(labels, len(given), "label").tolist()
    aimed = None if targets is None else as_classes(targets, len(given), "target").tolist()
    names = [str(index) for index in range(len(given))] if ids is None else [str(name) for name in ids]
    if len(names) != len(given):
        raise ImageError(f"There are {len(given)} images but {len(names)} ids.", "Give one id for each image.")
    clean, changed = _levels(given, names), _levels(made, [f"{name} (adversarial)" for name in names])
    if batch_size < 1:
        raise ImageError(f"The batch size is {batch_size}.", "Give at least 1.")
    questions = Questions(
        ids=names,
        labels=wanted,
        targets=aimed,
        distances=[distances(*pair) for pair in zip(clean, changed, strict=True)],
        batches=size_batches([pixels.shape for pixels in clean], batch_size),
        batch_size=batch_size,
        clean=lambda rows: (clean[row] for row in rows),
        adv=lambda rows: (changed[row] for row in rows),
        trust_labels=trust_labels,
        trust_victim=trust_victim,
        victim_labels=named,
    )
    return ask(load_victim(model_or_name), questions, VictimPreprocessing())


def _named(labels: Any, names: Sequence[str] | None, count: int) -> VictimLabels | None:
    """What tells the labels that are no numbers; None for numbers.

    Raises:
        ImageError: another word than `predicted`, or another number of names than images.
    """
    if isinstance(labels, str):
        if labels != PREDICTED:
            raise ImageError(f"The labels are {labels!r}.", "Give one for each image, or predicted.")
        return VictimLabels(listed=None, source=labels)
    words = labels.tolist() if isinstance(labels, np.ndarray) else labels
    if not isinstance(words, Sequence) or not words or not all(isinstance(one, str) for one in words):
        return None
    if len(words) != count:
        raise ImageError(f"There are {count} images but {len(words)} labels.", "Give one label for each image.")
    listed = in_list(list(words), [(str(row), Path()) for row in range(count)], "the labels")
    return VictimLabels(listed=listed, source="the labels", names=None if names is None else tuple(names))


def _levels(images: torch.Tensor, names: Sequence[str]) -> Pixels:
    """Images (N, 3, H, W) of any accepted kind as levels (N, H, W, 3)."""
    if images.shape[1] != 3:
        raise ImageError(f"The images have shape {tuple(images.shape)}.", "Give RGB images of shape (N, 3, H, W).")
    check_levels(images, names)
    found: Pixels = as_levels(images).permute(0, 2, 3, 1).cpu().numpy()
    return found


def _whole(images: Any) -> Any:
    """Images, those in bfloat16 as levels: k/255 is off by half a level there, but no two levels are one number.

    Raises:
        ImageError: a value of bfloat16 is none of those.
    """
    if not isinstance(images, torch.Tensor) or images.dtype != torch.bfloat16:
        return images
    found = []
    for some in torch.split(images.detach(), CHECKED):
        levels = (some.double() * 255).round().clamp(0, 255)
        if not torch.equal((levels / 255).to(some.dtype), some):
            raise ImageError(
                "The images in bfloat16 are not on the 8-bit grid, or outside [0, 1].",
                "Round them to k/255 first: what counts is the image as it can be saved.",
            )
        found.append(levels.to(torch.uint8))
    return torch.cat(found)
