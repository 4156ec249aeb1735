"""What is attacked: images, classes and names, checked once before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from linbp.attack.context import Goal
from linbp.attack.ensemble import Ensemble
from linbp.errors import ImageError

__all__ = ["Inputs", "as_images", "check_channels"]

IMAGE_RANK = 4
GRID_TOLERANCE = 1e-2
"""Levels by which float images may miss the 8-bit grid (half-precision inputs do)."""


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
            ImageError: images of another number of channels, classes out of range, or names that are not one for each.
        """
        count = len(images)
        check_channels(ensemble, images.shape[1])
        return cls(
            images=images,
            labels=_classes(labels, count, ensemble.classes, "label"),
            targets=None if targets is None else _classes(targets, count, ensemble.classes, "target"),
            ids=_ids(ids, count),
        )

    @property
    def aim(self) -> torch.Tensor:
        """The classes (N,) that the attack leads to, or away from where there are no targets."""
        return self.labels if self.targets is None else self.targets

    def clean(self, rows: slice, ensemble: Ensemble) -> torch.Tensor:
        """Some of the images as k / 255 in the surrogates' dtype, on their device.

        Raises:
            ImageError: one is not on the 8-bit grid.
        """
        moved = self.images[rows].to(ensemble.device)
        levels = moved.to(torch.float64) if moved.dtype == torch.uint8 else moved.to(torch.float64) * 255
        whole = levels.round()
        outside = ~torch.isfinite(levels) | (levels < -GRID_TOLERANCE) | (levels > 255 + GRID_TOLERANCE)
        off = (levels - whole).abs() > GRID_TOLERANCE
        for wrong, what in ((outside, "is outside [0, 1]"), (off, "is not on the 8-bit grid (k / 255)")):
            found = wrong.flatten(1).any(1).nonzero().flatten().tolist()
            if found:
                raise ImageError(
                    f"Image {self.ids[rows][found[0]]} {what}.",
                    "Give uint8 images, or floats that are whole levels: (images * 255).round() / 255.",
                )
        # Channels last or first, the adversarial images are the same: what a network computes depends on it in the
        # last bit. (Not `contiguous`, which leaves images of one channel as they are.)
        return (whole.to(ensemble.dtype) / 255).clone(memory_format=torch.contiguous_format)

    def goal(self, rows: slice, device: torch.device) -> Goal:
        """Labels and targets of some of the images, on a device."""
        targets = None if self.targets is None else self.targets[rows].to(device)
        return Goal(labels=self.labels[rows].to(device), targets=targets)


def as_images(images: Any) -> torch.Tensor:
    """Images (N, C, H, W) as a tensor.

    Raises:
        ImageError: another shape or kind of number.
    """
    given = torch.as_tensor(np.ascontiguousarray(images) if isinstance(images, np.ndarray) else images)
    if given.ndim != IMAGE_RANK:
        raise ImageError(
            f"Images have shape {tuple(given.shape)}.", "Give a batch of shape (images, channels, height, width)."
        )
    if not (given.dtype == torch.uint8 or given.is_floating_point()):
        raise ImageError(f"Images are {given.dtype}.", "Give uint8, or floats in [0, 1].")
    return given


def check_channels(ensemble: Ensemble, channels: int) -> None:
    """Refuse images of another number of channels than a surrogate's.

    Raises:
        ImageError: they are.
    """
    for surrogate in ensemble.surrogates:
        wanted = surrogate.model.input_size[0]
        if channels != wanted:
            raise ImageError(
                f"The images have {channels} channels, and {surrogate.model.name} takes {wanted}.",
                "Wrap the network so that it takes RGB, (N, 3, H, W)."
                if channels == 3
                else f"Give images of shape (N, {wanted}, H, W).",
            )


def _classes(classes: Any, count: int, number: int, what: str) -> torch.Tensor:
    """Labels or targets as a tensor (N,) on the CPU.

    Raises:
        ImageError: another number of them than images, or one that is no class.
    """
    given = torch.as_tensor(classes).cpu()
    if given.shape != (count,) or given.is_floating_point():
        raise ImageError(
            f"{what}s have shape {tuple(given.shape)} and dtype {given.dtype} for {count} images.",
            f"Give one whole number for each image as its {what}.",
        )
    given = given.to(torch.int64)
    wrong = ((given < 0) | (given >= number)).nonzero().flatten().tolist()
    if wrong:
        raise ImageError(
            f"The {what} of image {wrong[0]} is {int(given[wrong[0]])}; the network's classes are 0 to {number - 1}.",
            "Labels count from 0: if yours count from 1, subtract 1.",
        )
    return given


def _ids(ids: Sequence[str] | None, count: int) -> list[str]:
    names = [str(index) for index in range(count)] if ids is None else [str(name) for name in ids]
    if len(names) != count or len(set(names)) != count:
        raise ImageError(
            f"{len(names)} ids, {len(set(names))} of them different, for {count} images.",
            "Give one id of its own for each image.",
        )
    return names
