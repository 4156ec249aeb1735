"""Accuracy and loss of a network in evaluation mode."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from linbp.models import Model
from linbp.training.lins.samples import Samples, in_batches
from linbp.training.loop import TrainingProgress

__all__ = ["counted", "logits_of", "measure"]

NO_CLASS = -1


def logits_of(network: nn.Module, model: Model, images: torch.Tensor) -> torch.Tensor:
    """A graph's logits (N, classes) for images (N, C, H, W) in [0, 1] of its size; a tuple of one is unpacked."""
    found = network(model.normalise(images))
    logits: torch.Tensor = found[0] if isinstance(found, tuple | list) else found
    return logits


def counted(
    batches: Iterator[tuple[torch.Tensor, torch.Tensor]], stage: str, total: int, tell: TrainingProgress
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The same batches, while a listener is told of each."""
    tell(stage, 0, total, "")
    for done, batch in enumerate(batches, 1):
        yield batch
        tell(stage, done, total, "")


@torch.no_grad()
def measure(
    network: nn.Module,
    model: Model,
    samples: Samples,
    device: torch.device,
    size: int,
    stage: str,
    tell: TrainingProgress,
) -> tuple[dict[str, Any], list[int]]:
    """How many images are right, of how many, at what mean cross-entropy; and every prediction.

    An image whose logits are not finite is wrong; the mean is None then. The network is in evaluation mode and lies on
    `device`, `model` has its preprocessing, `size` images are asked about at a time.
    """
    rows = list(range(len(samples.ids)))
    cut = [rows[at : at + size] for at in range(0, len(rows), size)]
    predictions: list[int] = []
    right, loss = 0, 0.0
    for images, labels in counted(in_batches(samples, cut, model, device), stage, len(cut), tell):
        logits = logits_of(network, model, images)
        # Without its activations, and not yet tuned, a network may leave the range of floats: that is wrong.
        finite = torch.isfinite(logits).all(1)
        predicted = torch.where(finite, logits.argmax(1), NO_CLASS)
        right += int((predicted == labels).sum())
        loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        predictions += predicted.tolist()
    mean = loss / len(rows) if math.isfinite(loss) else None
    return {"right": right, "n": len(rows), "accuracy": right / len(rows), "loss": mean}, predictions
