"""Labelled images at a network's input size, read from files or kept in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch.nn import functional

from linbp.data.image_csv import label_hint
from linbp.data.image_list import ImageRecord, list_sha256
from linbp.data.images import pixel_sha256, read_ahead, to_unit
from linbp.errors import ImageError
from linbp.models import Model
from linbp.randomness import generator
from linbp.training.fine_tuning.tuning import Augmentation, held_out
from linbp.training.loop import TrainingProgress

__all__ = ["Files", "Samples", "Tensors", "augmented", "check_share", "counted", "in_batches", "split"]

MARGIN = 8
"""A crop shifts an image by up to this part of its side."""
IMAGE_RANK = 4


class Samples(Protocol):
    """Labelled images."""

    ids: tuple[str, ...]
    labels: tuple[int, ...]

    def images(self, rows: Sequence[int], model: Model, device: torch.device) -> Iterator[torch.Tensor]:
        """The images of these rows, one by one: (C, H, W) in [0, 1], of the model's size and dtype."""

    def goals(self, rows: Sequence[int]) -> torch.Tensor:
        """What training aims at for these rows: classes (N,), or probabilities (N, classes) of float64."""

    def subset(self, rows: Sequence[int]) -> Samples:
        """Some of the images."""


class Files:
    """Images of a list, read whenever they are needed.

    Args:
        records: from `list_images`.
        threads: that decode images.
        soft: probabilities of all classes to train on, by image id; None: the labels.

    Raises:
        ImageError: there is none, or one has no label.
    """

    def __init__(
        self, records: Sequence[ImageRecord], threads: int = 4, soft: Mapping[str, Sequence[float]] | None = None
    ) -> None:
        if not records:
            raise ImageError("The list holds no images.", "Give at least two.")
        labels: list[int] = []
        for record in records:
            if record.label is None:
                raise ImageError(
                    f"Image {record.image_id!r} has no label, and fine-tuning needs one for each image.",
                    (
                        label_hint(records) + " Give a CSV with a column label, or one sub-folder for each class."
                    ).strip(),
                )
            labels.append(record.label)
        self.records, self.threads, self.soft = tuple(records), threads, soft
        self.ids, self.labels = tuple(record.image_id for record in records), tuple(labels)

    def images(self, rows: Sequence[int], model: Model, device: torch.device) -> Iterator[torch.Tensor]:
        """The images of these rows, decoded a little ahead."""
        for pixels in read_ahead([self.records[row].path for row in rows], self.threads):
            yield model.resize(to_unit(pixels[None], model.dtype, device))[0]

    def goals(self, rows: Sequence[int]) -> torch.Tensor:
        """Classes (N,), or probabilities (N, classes) where there are any."""
        if self.soft is None:
            return torch.tensor([self.labels[row] for row in rows])
        return torch.tensor([self.soft[self.ids[row]] for row in rows], dtype=torch.float64)

    def subset(self, rows: Sequence[int]) -> Files:
        """Some of the images."""
        return Files([self.records[row] for row in rows], self.threads, self.soft)

    def hashes(self) -> Iterator[str]:
        """The SHA-256 of each image's pixels: reads every file once, so that a broken one is found at the start."""
        return map(pixel_sha256, read_ahead([record.path for record in self.records], self.threads))

    def sha256(self, hashes: Sequence[str]) -> str:
        """The hash of the whole list."""
        return list_sha256(self.records, hashes)


class Tensors:
    """Images in memory.

    Args:
        images: (N, C, H, W), uint8 or floats in [0, 1]; a tensor or a numpy array.
        labels: (N,) classes, counted from 0.
        ids: (N,) names that differ, what randomness is keyed by; by default the numbers from 0 on.

    Raises:
        ImageError: a shape or a range that does not fit.
    """

    def __init__(self, images: Any, labels: Any, ids: Sequence[str] | None = None) -> None:
        self._images = torch.as_tensor(np.asarray(images) if isinstance(images, list | tuple) else images)
        if self._images.ndim != IMAGE_RANK or not len(self._images):
            raise ImageError(f"The images have shape {tuple(self._images.shape)}.", "Give (N, C, H, W).")
        if self._images.dtype != torch.uint8 and not (
            self._images.is_floating_point() and bool(((self._images >= 0) & (self._images <= 1)).all())
        ):
            raise ImageError(
                "The images are neither uint8 nor floats in [0, 1].", "Divide by 255, before any normalisation."
            )
        given = torch.as_tensor(labels)
        if given.is_floating_point():
            raise ImageError(f"The labels are {given.dtype}.", "Give whole numbers, counted from 0.")
        self.labels = tuple(given.tolist())
        self.ids = tuple(map(str, range(len(self._images)))) if ids is None else tuple(ids)
        if not len(self._images) == len(self.labels) == len(self.ids) == len(set(self.ids)):
            raise ImageError(
                f"There are {len(self._images)} images, {len(self.labels)} labels and {len(set(self.ids))} ids.",
                "Give one label for each image, and ids that differ.",
            )

    def images(self, rows: Sequence[int], model: Model, device: torch.device) -> Iterator[torch.Tensor]:
        """The images of these rows."""
        for row in rows:
            image = self._images[row : row + 1].to(device)
            unit = image.to(model.dtype) / 255 if image.dtype == torch.uint8 else image.to(model.dtype)
            yield model.resize(unit)[0]

    def goals(self, rows: Sequence[int]) -> torch.Tensor:
        """Classes (N,)."""
        return torch.tensor([self.labels[row] for row in rows])

    def subset(self, rows: Sequence[int]) -> Tensors:
        """Some of the images."""
        chosen = list(rows)
        return Tensors(self._images[chosen], [self.labels[row] for row in chosen], [self.ids[row] for row in chosen])


Some = TypeVar("Some", Files, Tensors)


def split(every: Some, fraction: float, seed: int) -> tuple[Some, Some]:
    """Images to train on, and a share of the images that is held out for validation.

    Raises:
        ImageError: it is no share, or nothing is left to train on.
    """
    check_share(fraction)
    kept_apart = held_out(every.ids, seed, fraction)
    rest = sorted(set(range(len(every.ids))) - set(kept_apart))
    if not rest:
        raise ImageError(
            f"Of {len(every.ids)} images {len(kept_apart)} are held out for validation: none is left to tune on.",
            "Give more images, or validation images of their own.",
        )
    return every.subset(rest), every.subset(kept_apart)


def check_share(fraction: float) -> None:
    """Refuse what is no share of the images.

    Raises:
        ImageError: it is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ImageError(
            f"{fraction:g} of the images cannot be held out for validation.",
            "--validation is a share such as 0.1, or a folder or CSV of other images.",
        )


def in_batches(
    samples: Samples, batches: Sequence[Sequence[int]], model: Model, device: torch.device, *, goals: bool = False
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Images (N, C, H, W) and labels (N,) of each batch, or what training aims at instead of the labels."""
    coming = samples.images([row for batch in batches for row in batch], model, device)
    for batch in batches:
        images = torch.stack([next(coming) for _ in batch])
        wanted = samples.goals(batch) if goals else torch.tensor([samples.labels[row] for row in batch])
        yield images, wanted.to(device)
    next(coming, None)  # it ends here: where it is collected instead, a Ctrl-C would be lost


def counted(
    batches: Iterator[tuple[torch.Tensor, torch.Tensor]], stage: str, total: int, tell: TrainingProgress
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The same batches, while a listener is told of each."""
    tell(stage, 0, total, "")
    for done, batch in enumerate(batches, 1):
        yield batch
        tell(stage, done, total, "")


def augmented(
    images: torch.Tensor, ids: Sequence[str], augment: Sequence[Augmentation], seed: int, epoch: int
) -> torch.Tensor:
    """Images (N, C, H, W) mirrored or shifted, each by what its id draws in this epoch."""
    rows = list(images)
    for at, image_id in enumerate(ids):
        if "flip" in augment and generator(seed, image_id, epoch, "linearize.flip").random() < 0.5:
            rows[at] = rows[at].flip(-1)
        if "crop" in augment:
            draw = generator(seed, image_id, epoch, "linearize.crop")
            rows[at] = _shifted(rows[at], draw)
    return torch.stack(rows)


def _shifted(image: torch.Tensor, draw: np.random.Generator) -> torch.Tensor:
    """An image (C, H, W) moved by whole pixels; what comes in is the image mirrored at its edge."""
    height, width = image.shape[-2:]
    up, left = height // MARGIN, width // MARGIN
    wide = functional.pad(image[None], (left, left, up, up), mode="reflect")[0]
    top, side = (int(draw.integers(0, 2 * margin + 1)) for margin in (up, left))
    return wide[:, top : top + height, side : side + width]
