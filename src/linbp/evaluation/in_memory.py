"""Images, adversarial images and a victim in memory: how many adversarial images fool it?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from linbp.data.images import Pixels, distances, to_uint8
from linbp.errors import ImageError
from linbp.evaluation.predict import (
    check_classes,
    check_victim_not_shifted,
    load_victim,
    predict,
)
from linbp.evaluation.records import Record, make_records
from linbp.evaluation.statistics import Statistics, summarise
from linbp.models import Classifier

__all__ = ["Evaluation", "evaluate"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One victim's answers to images and their adversarial images.

    Attributes:
        victim: the victim's identity: name, SHA-256 of the weights, preprocessing.
        records: one an image.
        statistics: the records in numbers.
        preprocessing: what was done to each image before the victim classified it, in words.
    """

    victim: dict[str, Any]
    records: tuple[Record, ...]
    statistics: Statistics
    preprocessing: str = "its own resizing"

    @property
    def name(self) -> str:
        """What results call the victim."""
        return str(self.victim["name"])

    def to_dict(self) -> dict[str, Any]:
        """Victim and statistics as plain values, for JSON."""
        return {"victim": self.victim, "preprocessing": self.preprocessing, **self.statistics.to_dict()}


def evaluate(
    model_or_name: Classifier | str,
    images: Any,
    adv: Any,
    labels: Any,
    *,
    targets: Any = None,
    ids: Sequence[str] | None = None,
    trust_labels: bool = False,
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
        trust_labels: do not suspect that the network's classes are shifted against the labels.
        batch_size: images at a time.

    Raises:
        ImageError: shapes do not fit, or values are not on the 8-bit grid.
        ModelError: the network cannot be loaded, has too few classes, gives NaN, or its classes seem to be shifted.
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
    victim = load_victim(model_or_name)

    def batches(pixels: Pixels) -> Iterator[Pixels]:
        return (pixels[at : at + batch_size] for at in range(0, len(pixels), batch_size))

    before, classes = predict(victim, batches(clean))
    check_classes(victim.name, classes, names, wanted)
    if not trust_labels:
        check_victim_not_shifted(victim.name, wanted, before.tolist(), classes)
    if aimed is not None:
        check_classes(victim.name, classes, names, aimed, "target")
    after, _ = predict(victim, batches(changed))
    distance = [distances(*pair) for pair in zip(clean, changed, strict=True)]
    records = make_records(names, wanted, aimed, before, after, distance)
    return Evaluation(victim=victim.identity(), records=records, statistics=summarise(records))


def _levels(images: Any, what: str) -> Pixels:
    """Images (N, 3, H, W) of any accepted kind as levels (N, H, W, 3)."""
    values = images.detach().cpu().numpy() if isinstance(images, torch.Tensor) else np.asarray(images)
    if values.ndim != 4 or values.shape[1] != 3:
        raise ImageError(f"The {what} have shape {tuple(values.shape)}.", "Give RGB images of shape (N, 3, H, W).")
    levels: Pixels = to_uint8(values, what).transpose(0, 2, 3, 1)
    return levels


def _integers(values: Any, count: int, what: str) -> list[int]:
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    if array.shape != (count,) or not np.issubdtype(array.dtype, np.integer):
        raise ImageError(
            f"The {what} are {array.dtype} of shape {tuple(array.shape)}.",
            f"Give {count} integers, one for each image.",
        )
    return [int(value) for value in array]
