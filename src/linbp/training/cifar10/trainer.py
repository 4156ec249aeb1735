"""One of the zoo's networks in training: its steps, the average of its weights, and what is measured of it."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from linbp.data.cifar10 import Cifar10
from linbp.errors import ImageError, ModelError
from linbp.models.checkpoint import fill
from linbp.randomness import generator, seeded
from linbp.training.cifar10.augment import Box, Epoch
from linbp.training.loop import Loop
from linbp.training.mixed_precision import suit_bfloat16
from linbp.training.optimizer import Optimizer
from linbp.training.schedule import learning_rate
from linbp.zoo.architectures import MEAN, STD, build
from linbp.zoo.settings import Training

__all__ = ["ZooTrainer", "count_right", "normalised"]

TEST_BATCH = 500


class ZooTrainer:
    """A network, its optimizer and its average, on one device; they start from the seed.

    Args:
        settings: of the training.
        data: images and labels; all of them are put on the device.
        device: where to compute.
        first_weights: of the network, to start from; by default they are drawn from the seed.

    Attributes:
        network: in training.
        average: of its weights and statistics.
        steps_per_epoch: whole batches in an epoch.

    Raises:
        ImageError: fewer training images than a batch.
        ModelError: the first weights do not fit the network.
    """

    def __init__(
        self,
        settings: Training,
        data: Cifar10,
        device: torch.device,
        first_weights: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        if len(data.train_images) < settings.batch_size:
            raise ImageError(
                f"{len(data.train_images)} training images do not fill a batch of {settings.batch_size}.",
                "Use a smaller --batch-size, or more images.",
            )
        self.settings, self.device, self.mixed = settings, device, settings.precision == "mixed"
        self.train_images, self.train_labels = data.train_images.to(device), data.train_labels.to(device)
        self.test_images, self.test_labels = data.test_images.to(device), data.test_labels.to(device)
        self.steps_per_epoch = len(data.train_images) // settings.batch_size
        name = f"{settings.architecture} {settings.width}"
        with seeded(generator(settings.seed, name, 0, "zoo.weights"), torch.device("cpu")):
            network = build(settings.architecture, settings.width, settings.activation)
        if first_weights is not None:
            try:
                fill(network, first_weights, "The network to start from")
            except ModelError as fault:
                what = f"{settings.architecture} with width {settings.width:g}"
                raise ModelError(
                    f"The weights to start from are not those of {what}.",
                    "Name a network of the same architecture, and give its --width.",
                ) from fault
        # The conversion's types know no memory format alone.
        self.network: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.network.train()
        if self.mixed:
            suit_bfloat16(self.network, device)
        self._new, self._old = _averaged(self.network), _averaged(self.average)
        self.optimizer = Optimizer(
            settings.optimizer, self.network.parameters(), nesterov=True, decoupled_decay=settings.weight_decay
        )
        self.forgetting = 1.0 / max(settings.average * self.steps_per_epoch, 1.0)
        # On the device: a step must not wait for it.
        self._loss, self._right = torch.zeros((), device=device), torch.zeros((), device=device)

    def batches(self, epoch: int, first: int) -> Iterator[tuple[Epoch, int]]:
        """Each batch as its epoch and its number in it."""
        drawn = Epoch(self.train_images, self.train_labels, self.settings, epoch)
        return ((drawn, number) for number in range(first, self.steps_per_epoch))

    def step(self, batch: tuple[Epoch, int], loop: Loop) -> None:
        """One step on one batch. Nothing here waits for the device."""
        epoch, number = batch
        images, labels = epoch.batch(number)
        pixels, box = normalised(images), epoch.box(number)
        if box is not None:
            pixels = _mixed(pixels, box)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            logits = self.network(pixels).float()
        loss = self._cross_entropy(logits, labels, box)
        self.optimizer.step(loss, self._rate(loop, loop.step))
        with torch.no_grad():
            self._loss += loss.detach()
            self._right += (logits.detach().argmax(1) == labels).sum()
            # Faster in the first steps, which the average is to forget.
            torch._foreach_lerp_(self._old, self._new, max(self.forgetting, 9 / (loop.step + 10)))

    def end_epoch(self, loop: Loop) -> dict[str, Any]:
        """Loss, accuracy while training and that of the average on the test images."""
        loss, right = self.sums()
        self._loss.zero_()
        self._right.zero_()
        count, n = count_right(self.average, self.test_images, self.test_labels, self.mixed), len(self.test_labels)
        return {
            "loss": loss / self.steps_per_epoch,
            "accuracy_while_training": right / (self.steps_per_epoch * self.settings.batch_size),
            "test": {"right": count, "n": n, "share": count / n},
            "learning_rate": self._rate(loop, loop.step - 1),
            "seconds": round(loop.seconds, 3),
        }

    def describe(self, entry: Mapping[str, Any] | None) -> str:
        """An epoch that has ended; nothing of the running one, which the device is still computing."""
        if entry is None:
            return ""
        return (
            f"epoch {entry['epoch']} of {self.settings.epochs}: loss {entry['loss']:.3f}, accuracy "
            f"{entry['accuracy_while_training']:.1%} while training, {entry['test']['share']:.2%} on test images, "
            f"{entry['seconds'] / 60:.1f} minutes"
        )

    def sums(self) -> tuple[float, float]:
        """Loss and number of right images, summed over the running epoch; a ModelError where it diverged."""
        loss, right = self._loss.item(), self._right.item()
        if not math.isfinite(loss):
            raise ModelError(
                f"The loss is {loss}: the training of {self.settings.architecture} diverged.",
                "Train into another folder with a lower --learning-rate.",
            )
        return loss, right

    def state(self) -> dict[str, Any]:
        """Weights, their average, the optimizer's memory and the sums, where the loss is finite."""
        self.sums()
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "loss": self._loss,
            "right": self._right,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._loss.copy_(state["loss"])
        self._right.copy_(state["right"])

    def _rate(self, loop: Loop, step: int) -> float:
        return learning_rate(self.settings.highest_rate, step, loop.steps, warm_up=self.settings.warm_up, fall="linear")

    def _cross_entropy(self, logits: torch.Tensor, labels: torch.Tensor, box: Box | None) -> torch.Tensor:
        """The batch's mean; with a mixed rectangle that of both labels, by the share of the image that each has."""
        smoothing = self.settings.label_smoothing
        loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        if box is None:
            return loss
        other = functional.cross_entropy(logits, labels.roll(1), label_smoothing=smoothing)
        return (1 - box.share) * loss + box.share * other


def normalised(images: torch.Tensor) -> torch.Tensor:
    """(image / 255 - mean) / std of uint8 images (N, 3, H, W), float32, in the same memory format."""
    mean, std = _moments(images.device)
    return images.float().div_(255).sub_(mean).div_(std)


@functools.lru_cache
def _moments(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation on a device, which a step must not wait for."""
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return mean, std


@torch.no_grad()
def count_right(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, mixed: bool = False) -> int:
    """How many uint8 images (N, H, W, 3) a network in evaluation mode puts into their class."""
    right = torch.zeros((), dtype=torch.int64, device=images.device)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=mixed):
        for at in range(0, len(images), TEST_BATCH):
            some, classes = images[at : at + TEST_BATCH], labels[at : at + TEST_BATCH]
            right += (network(normalised(some.permute(0, 3, 1, 2))).argmax(1) == classes).sum()
    return int(right)


def _averaged(network: nn.Module) -> list[torch.Tensor]:
    """Parameters and the statistics of batch norms; not their counters."""
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]


def _mixed(pixels: torch.Tensor, box: Box) -> torch.Tensor:
    """Images (N, 3, H, W) in which a rectangle comes from the image before, that of the first from the last."""
    inside = (..., slice(box.top, box.bottom), slice(box.left, box.right))
    mixed = pixels.clone()
    mixed[inside] = pixels.roll(1, 0)[inside]
    return mixed
