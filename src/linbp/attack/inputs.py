"""What is attacked: images, classes and names, checked once before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from linbp.attack.context import Goal
from linbp.attack.ensemble import Ensemble
from linbp.data.arrays import as_classes, as_images, check_levels
from linbp.data.class_names import ClassNames
from linbp.errors import ImageError

__all__ = ["Inputs", "as_images", "check_channels", "given_labels"]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The images of an attack with their classes.

    Attributes:
        images: (N, C, H, W), uint8 or floats in [0, 1].
        labels: (N,) int64, on the CPU.
        targets: (N,) int64, on the CPU, or None.
        ids: names of their own.
    """

    images: torch.Tensor
    labels: torch.Tensor
    targets: torch.Tensor | None
    ids: list[str]

    @classmethod
    def check(
        cls, images: torch.Tensor, labels: Any, targets: Any, ids: Sequence[str] | None, ensemble: Ensemble
    ) -> Inputs:
        """Images that the surrogates take, with labels and targets that they know.

        Raises:
            ImageError: images of another number of channels or off the 8-bit grid, classes out of range, or names that
                are not one for each.
        """
        count, names = len(images), _ids(ids, len(images))
        check_channels(ensemble, images.shape[1], tuple(images.shape))
        check_levels(images, names)
        return cls(
            images=images,
            labels=_classes(labels, count, ensemble.classes, "label"),
            targets=None if targets is None else _classes(targets, count, ensemble.classes, "target"),
            ids=names,
        )

    @property
    def aim(self) -> torch.Tensor:
        """The classes (N,) that the attack leads to, or away from where there are no targets."""
        return self.labels if self.targets is None else self.targets

    def clean(self, rows: slice, ensemble: Ensemble) -> torch.Tensor:
        """Some of the images as k / 255 in the surrogates' dtype, on their device."""
        moved = self.images[rows].to(ensemble.device)
        levels = moved if moved.dtype == torch.uint8 else (moved.to(torch.float64) * 255).round()
        # Channels last or first, the adversarial images are the same: what a network computes depends on it in the
        # last bit. (Not `contiguous`, which leaves images of one channel as they are.)
        return (levels.to(ensemble.dtype) / 255).clone(memory_format=torch.contiguous_format)

    def goal(self, rows: slice, device: torch.device) -> Goal:
        """Labels and targets of some of the images, on a device."""
        targets = None if self.targets is None else self.targets[rows].to(device)
        return Goal(labels=self.labels[rows].to(device), targets=targets)


def given_labels(labels: Any, images: torch.Tensor, ensemble: Ensemble, batch_size: int) -> Any:
    """Labels as they were given; names of classes as numbers, and `predicted` as the surrogate's own predictions.

    Raises:
        ImageError: another word, or a name of no class.
    """
    if isinstance(labels, str):
        if labels != "predicted":
            raise ImageError(f"The labels are {labels!r}.", "Give one for each image, or predicted.")
        check_channels(ensemble, images.shape[1], tuple(images.shape))
        check_levels(images, _ids(None, len(images)))
        asked = Inputs(images=images, labels=torch.empty(0), targets=None, ids=[])
        batches = [slice(begin, begin + batch_size) for begin in range(0, len(images), batch_size)]
        found = [ensemble.logits(asked.clean(rows, ensemble)).argmax(1).cpu() for rows in batches]
        return torch.cat([torch.empty(0, dtype=torch.int64), *found])
    words = labels.tolist() if isinstance(labels, np.ndarray) else labels
    if not isinstance(words, list | tuple) or not words or not all(isinstance(one, str) for one in words):
        return labels
    names = next((one.model.class_names for one in ensemble.surrogates if one.model.class_names), ())
    if not names:
        raise ImageError(f"{ensemble.name} names none of its classes.", "Give numbers, counted from 0.")
    numbers = ClassNames(names, ensemble.name).numbers(words)
    return [numbers[word] for word in words]


def check_channels(ensemble: Ensemble, channels: int, shape: tuple[int, ...] = ()) -> None:
    """Refuse images of another number of channels than a surrogate's; `shape` is that of the batch, for the hint.

    Raises:
        ImageError: they are.
    """
    for surrogate in ensemble.surrogates:
        wanted = surrogate.model.input_size[0]
        if channels != wanted:
            raise ImageError(
                f"The images have {channels} channels, and {surrogate.model.name} takes {wanted}.",
                _channels_mend(channels, wanted, shape),
            )


def _channels_mend(channels: int, wanted: int, shape: tuple[int, ...]) -> str:
    """What to do about images of another number of channels."""
    if shape and shape[-1] == wanted:
        return f"Their shape {shape} has the channels last: give images.permute(0, 3, 1, 2) (tensors), or .transpose."
    if channels == 1 and wanted == 3:
        return "Make grey images RGB: images.repeat(1, 3, 1, 1) (tensors), or numpy.repeat(images, 3, axis=1)."
    if channels == 3:
        return "Wrap the network so that it takes RGB, (N, 3, H, W)."
    return f"Give images of shape (N, {wanted}, H, W)."


def _classes(classes: Any, count: int, number: int, what: str) -> torch.Tensor:
    """Labels or targets as a tensor (N,) on the CPU.

    Raises:
        ImageError: another number of them than images, or one that is no class.
    """
    given = as_classes(classes, count, what)
    wrong = ((given < 0) | (given >= number)).nonzero().flatten().tolist()
    if wrong:
        raise ImageError(
            f"The {what} of image {wrong[0]} is {int(given[wrong[0]])}; the network's classes are 0 to {number - 1}.",
            "Labels count from 0: if yours count from 1, subtract 1.",
        )
    return given


def _ids(ids: Sequence[str] | None, count: int) -> list[str]:
    if ids is not None and not isinstance(ids, Iterable):
        raise ImageError(f"ids is {ids!r}.", "Give one id of its own for each image.")
    names = [str(index) for index in range(count)] if ids is None else [str(name) for name in ids]
    if len(names) != count or len(set(names)) != count:
        raise ImageError(
            f"{len(names)} ids, {len(set(names))} of them different, for {count} images.",
            "Give one id of its own for each image.",
        )
    return names
