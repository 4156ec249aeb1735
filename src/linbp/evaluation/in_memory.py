"""Images, adversarial images and a victim in memory: how many adversarial images fool it?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from linbp.data.images import Pixels, distances, size_batches, to_uint8
from linbp.errors import ImageError
from linbp.evaluation.ask import Questions, ask
from linbp.evaluation.predict import load_victim
from linbp.evaluation.result import Evaluation
from linbp.evaluation.victim_input import VictimPreprocessing
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
        images: clean images (N, 3, H, W), tensor or array: uint8, or floats k/255 in [0, 1].
        adv: adversarial images of the same shape.
        labels: integers (N,), counted from 0.
        targets: integers (N,), for targeted attacks.
        ids: the images' names; default: `0`, `1`, ...
        trust_labels: do not suspect that the network numbers its classes otherwise than the labels.
        trust_victim: neither ask the network again, about a few images in other company, nor try other preprocessing
            if it is often wrong.
        batch_size: images at a time.

    Raises:
        ImageError: shapes do not fit, or values are not on the 8-bit grid.
        ModelError: the network cannot be loaded, has too few classes, gives NaN, numbers its classes otherwise, or its
            answers depend on chance or on the batch.
    """
    clean, changed = _levels(images, "images"), _levels(adv, "adv")
    if clean.shape != changed.shape:
        raise ImageError(
            f"Images have shape {tuple(clean.shape)} and adversarial images {tuple(changed.shape)} (N, H, W, "
            "channels).",
            "Give one adversarial image of the same size for each image.",
        )
    wanted, aimed = _integers(labels, len(clean), "labels"), None
    if targets is not None:
        aimed = _integers(targets, len(clean), "targets")
    names = [str(index) for index in range(len(clean))] if ids is None else list(ids)
    if len(names) != len(clean):
        raise ImageError(f"There are {len(clean)} images but {len(names)} ids.", "Give one id for each image.")
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
    )
    return ask(load_victim(model_or_name), questions, VictimPreprocessing())


def _levels(images: Any, what: str) -> Pixels:
    """Images (N, 3, H, W) of any accepted kind as levels (N, H, W, 3)."""
    if isinstance(images, torch.Tensor):
        images = images.detach().cpu()
        values = (_exact(images, what) if images.dtype == torch.bfloat16 else images).numpy()
    else:
        values = np.asarray(images)
    if values.ndim != 4 or values.shape[1] != 3:
        raise ImageError(f"The {what} have shape {tuple(values.shape)}.", "Give RGB images of shape (N, 3, H, W).")
    levels: Pixels = to_uint8(values, what).transpose(0, 2, 3, 1)
    return levels


def _exact(images: torch.Tensor, what: str) -> torch.Tensor:
    """Levels, uint8, of images in bfloat16: k/255 is off by half a level there, but no two levels are one number.

    Raises:
        ImageError: a value is none of those.
    """
    levels = (images.double() * 255).round().clamp(0, 255)
    if not torch.equal((levels / 255).to(images.dtype), images):
        raise ImageError(
            f"The {what} are not on the 8-bit grid, or outside [0, 1].",
            "Round them to k/255 first: what counts is the image as it can be saved.",
        )
    return levels.to(torch.uint8)


def _integers(values: Any, count: int, what: str) -> list[int]:
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    if array.shape != (count,) or not np.issubdtype(array.dtype, np.integer):
        raise ImageError(
            f"The {what} are {array.dtype} of shape {tuple(array.shape)}.",
            f"Give {count} integers, one for each image.",
        )
    return [int(value) for value in array]
