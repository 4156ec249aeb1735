"""A network in training: its steps, the average of its weights, and all of its state in one dictionary."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from linbp.errors import ModelError
from linbp.randomness import generator
from linbp.training.cifar10.augment import Box, Epoch
from linbp.training.mixed_precision import full_where_faster
from linbp.zoo.architectures import MEAN, STD, build
from linbp.zoo.settings import Training

__all__ = ["Trainer", "count_right", "normalised"]

MOMENTUM = 0.9
SEEDS = 2**63
TEST_BATCH = 500


class Trainer:
    """A network, its optimizer and its average, on one device; they start from the seed.

    Args:
        settings: of the training.
        steps: how many there will be.
        steps_per_epoch: of them.
        device: where to compute.
    """

    def __init__(self, settings: Training, steps: int, steps_per_epoch: int, device: torch.device) -> None:
        self.settings, self.steps, self.device = settings, steps, device
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed, which would seed the accelerators' generators too.
            name = f"{settings.architecture} {settings.width}"
            torch.default_generator.manual_seed(int(generator(settings.seed, name, 0, "zoo.weights").integers(SEEDS)))
            network = build(settings.architecture, settings.width)
        # The conversion's types know no memory format alone.
        self.network: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.network.train()
        full_where_faster(self.network, device)
        self._new, self._old = _averaged(self.network), _averaged(self.average)
        self.parameters = list(self.network.parameters())
        self.decayed = [parameter for parameter in self.parameters if parameter.ndim > 1]
        self.optimizer = self._optimizer()
        self.forgetting = 1.0 / max(settings.average * steps_per_epoch, 1.0)
        self.loss, self.right = torch.zeros((), device=device), torch.zeros((), device=device)

    def _optimizer(self) -> torch.optim.Optimizer:
        # Weight decay is our own: only weights of rank above 1 have it, and momentum does not see it.
        if self.settings.optimizer == "sgd":
            return torch.optim.SGD(self.parameters, momentum=MOMENTUM, nesterov=True, foreach=True)
        return torch.optim.AdamW(self.parameters, weight_decay=0.0, foreach=True)

    def step(self, epoch: Epoch, number: int, step: int) -> None:
        """One step on one batch. Nothing here waits for the device.

        Args:
            epoch: that the batch is of.
            number: of the batch in its epoch, from 0.
            step: of all steps, from 0.
        """
        rate = self.settings.rate_at(step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        images, labels = epoch.batch(number)
        pixels, box = normalised(images), epoch.box(number)
        if box is not None:
            pixels = _mixed(pixels, box)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "mixed"):
            logits = self.network(pixels).float()
        loss = self._loss(logits, labels, box)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            torch._foreach_mul_(self.decayed, 1 - rate * self.settings.weight_decay)
        self.optimizer.step()
        with torch.no_grad():
            self.loss += loss.detach()
            self.right += (logits.detach().argmax(1) == labels).sum()
            self._follow(step)

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor, box: Box | None) -> torch.Tensor:
        """Mean cross-entropy; with a mixed rectangle that of both labels, by the share of the image that each has."""
        smoothing = self.settings.label_smoothing
        loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        if box is None:
            return loss
        other = functional.cross_entropy(logits, labels.roll(1), label_smoothing=smoothing)
        return (1 - box.share) * loss + box.share * other

    def _follow(self, step: int) -> None:
        """Move the average towards the network: faster in the first steps, which it is to forget."""
        forgetting = max(self.forgetting, 9 / (step + 10))
        torch._foreach_lerp_(self._old, self._new, forgetting)

    def read_sums(self) -> tuple[float, float]:
        """Loss and number of right images, summed over the batches and images since the last `clear_sums`.

        Raises:
            ModelError: the loss is not finite.
        """
        loss, right = self.loss.item(), self.right.item()
        if not math.isfinite(loss):
            raise ModelError(
                f"The loss is {loss}: the training of {self.settings.architecture} diverged.",
                "Train into another folder with a lower --learning-rate.",
            )
        return loss, right

    def clear_sums(self) -> None:
        """Begin to add up anew."""
        self.loss.zero_()
        self.right.zero_()

    def state(self) -> dict[str, Any]:
        """Weights, their average, the optimizer's memory and the sums.

        Raises:
            ModelError: the loss is not finite, so that there is nothing worth keeping.
        """
        self.read_sums()
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "loss": self.loss,
            "right": self.right,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.loss.copy_(state["loss"])
        self.right.copy_(state["right"])


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
