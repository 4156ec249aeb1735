"""The whole job on samples: measure, remove, recalibrate, tune, measure again; it can stop and go on at any step."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from linbp.data.labels import check_labels, check_not_shifted
from linbp.errors import CaptureError, ImageError, ModelError
from linbp.graph import Position
from linbp.models import Model
from linbp.rules import LinBP
from linbp.rules.sites import Which
from linbp.training.lins.modes import mixes_images
from linbp.training.lins.program import Program
from linbp.training.lins.samples import Samples, augmented, in_batches
from linbp.training.lins.tuner import Tuner, answer, diverged, usable_precision
from linbp.training.lins.tuning import Tuning, batches, order

__all__ = ["Progress", "Work"]

Progress = Callable[[str, int, int, str], None]
"""Told the stage, how much of it is done, how much there is, and a few words such as `loss 1.23, accuracy 45.6%`."""

Save = Callable[[Mapping[str, Any]], None]

LOOKED_AT = 2000
"""Training images, spread evenly over the list, that accuracy on training data is measured on."""
NO_CLASS = -1


@dataclasses.dataclass
class _Epoch:
    """What the steps of the running epoch have added up."""

    loss: float = 0.0
    right: int = 0
    seen: int = 0

    def words(self) -> str:
        return f"loss {self.loss / self.seen:.3f}, accuracy {self.right / self.seen:.1%}" if self.seen else ""


class Work:
    """One job, from the model to the tuned one.

    Args:
        model: any differentiable model; it is left as it is.
        start: where the removal begins, as in `LinBP`.
        training: images to tune on.
        validation: images that are only measured on.
        sites: which sites from `start` on, as in `LinBP`.
        tuning: the settings.
        device: where to compute; by default where the model is.
        trust_labels: do not suspect labels of counting from 1.
        progress: told about every stage.

    Raises:
        ImageError: a label is out of range, or there are too few images.
        RuleError: the position matches nothing, or no site is reached.
        ModelError, CaptureError: as for `Surrogate`.
    """

    def __init__(
        self,
        model: Model,
        start: Position,
        training: Samples,
        validation: Samples,
        *,
        sites: Which | tuple[int, ...] | None = None,
        tuning: Tuning,
        device: str | torch.device | None = None,
        trust_labels: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.tell: Progress = progress or (lambda stage, done, total, words: None)
        self.model, self.training, self.validation = model, training, validation
        self.tuning, self.trust_labels = tuning, trust_labels
        self.device = model.device if device is None else torch.device(device)
        if model.dtype not in (torch.float32, torch.float64):
            raise ModelError(
                f"{model.name} computes in {str(model.dtype).removeprefix('torch.')}, in which tuning loses its steps.",
                "Load it in float32: module.float().",
            )
        self.mixed = usable_precision(tuning.mixed_precision, model.dtype, self.device)
        rule = LinBP(start=start, sites=sites, rebalance=None)
        self.tell("capturing the network", 0, 1, "")
        self.program = Program(model)
        self.removed = tuple(rule.plan(self.program.structure).sites)
        for samples in (training, validation):
            check_labels(samples.ids, samples.labels, self.program.classes, network=model.name)
        self._ordinary: nn.Module | None = self.program.network(self.device).eval()
        self.program.remove(self.removed)
        network = self.program.network(self.device)
        ends = self.program.nodes_of(self.removed)
        self._tuner = Tuner(model, network, self.program.structure, ends, tuning, self.mixed)
        if mixes_images(network) and min(tuning.batch_size, len(training.ids)) < 2:
            raise ImageError(
                "The network has batch norms, which need two images in every batch.",
                "Give more training images, and a --batch-size of at least 2.",
            )
        self.tell("capturing the network", 1, 1, "")
        self.steps = tuning.epochs * len(batches(range(len(training.ids)), tuning.batch_size))
        self.step, self.seconds = 0, 0.0
        self.accuracy: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self._epoch = _Epoch()
        self._clock = time.monotonic()

    @property
    def notes(self) -> list[str]:
        """What a user should know, in words."""
        return [*self.program.notes, *self._tuner.notes]

    def begin(self) -> None:
        """Measure the network before and after the removal, and its statistics anew."""
        assert self._ordinary is not None
        self._measure("before", self._ordinary, labels=True)
        self._ordinary = None
        network = self._tuner.network
        self._measure("removed", network)
        if self.tuning.recalibrate and self._tuner.recalibrates:
            cut = self._batches(0)[: self.tuning.recalibrate]
            coming = in_batches(self.training, cut, self.model, self.device)
            self._tuner.recalibrate(self._counted(coming, "recalibrating", len(cut)))
            self._measure("recalibrated", network)

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._ordinary = None
        try:
            self._tuner.load(state["tuner"])
        except (KeyError, RuntimeError, ValueError) as fault:
            raise CaptureError(
                "The checkpoint does not fit the network.", "Start again in a new folder: its program was another one."
            ) from fault
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self.accuracy, self.history = dict(state["accuracy"]), list(state["history"])
        self._epoch = _Epoch(**state["epoch"])

    def state(self) -> dict[str, Any]:
        """Everything that going on needs: tensors, numbers and words, for `torch.save`.

        Raises:
            ModelError: the weights are not finite.
        """
        self._tick()
        return {
            "tuner": self._tuner.state(),
            "step": self.step,
            "seconds": self.seconds,
            "accuracy": self.accuracy,
            "history": self.history,
            "epoch": dataclasses.asdict(self._epoch),
        }

    def tune(self, save: Save | None = None, every: int = 100) -> None:
        """Take all steps that are left.

        Args:
            save: given the state at the start, at the end of each epoch, and inside epochs.
            every: how many steps apart inside epochs.

        Raises:
            ModelError: the loss or the weights are not finite any more.
        """
        keep: Save = save or (lambda state: None)
        if self.step == 0:
            keep(self.state())
        per_epoch = self.steps // max(self.tuning.epochs, 1)
        self.tell("tuning", self.step, self.steps, self._epoch.words())
        while self.step < self.steps:
            epoch, at = divmod(self.step, per_epoch)
            cut = self._batches(epoch)[at:]
            coming = in_batches(self.training, cut, self.model, self.device)
            for rows, (images, labels) in zip(cut, coming, strict=True):
                ids = [self.training.ids[row] for row in rows]
                changed = augmented(images, ids, self.tuning.augment, self.tuning.seed, epoch)
                loss, right = self._tuner.step(changed, labels, self.step, self.steps)
                self.step += 1
                self._epoch.loss += loss * len(rows)
                self._epoch.right += right
                self._epoch.seen += len(rows)
                self.tell("tuning", self.step, self.steps, self._epoch.words())
                if self.step % per_epoch and self.step % every == 0:
                    keep(self.state())
            self._end_epoch(epoch)
            keep(self.state())

    def finish(self) -> Model:
        """Measure the network, if it was tuned, and make a model of it."""
        if self.steps:
            self._measure("tuned", self._tuner.network)
            if all(found["loss"] is None for found in self.accuracy["tuned"].values()):
                raise diverged("No image has finite logits after the tuning")
        self._tick()
        self._tuner.state()  # raises where a number is not finite
        return self.program.finish(self._tuner.network)

    def _end_epoch(self, epoch: int) -> None:
        run = self._epoch
        self.history.append(
            {
                "epoch": epoch + 1,
                "loss": run.loss / run.seen,
                "accuracy_while_training": run.right / run.seen,
                "validation": self._evaluate(self.validation, self._tuner.network, "validation")[0],
            }
        )
        self._epoch = _Epoch()

    def _batches(self, epoch: int) -> list[list[int]]:
        return batches(order(self.training.ids, self.tuning.seed, epoch), self.tuning.batch_size)

    def _measure(self, when: str, network: nn.Module, labels: bool = False) -> None:
        """Put accuracy on validation images and on some training images under one name."""
        count = len(self.training.ids)
        rows = range(count) if count <= LOOKED_AT else [at * count // LOOKED_AT for at in range(LOOKED_AT)]
        some = self.training.subset(rows)
        found, seen = {}, []
        for name, samples in (("validation", self.validation), ("training", some)):
            found[name], predictions = self._evaluate(samples, network, f"accuracy {when} ({name})")
            seen += predictions
        if labels and not self.trust_labels:
            given = [*self.validation.labels, *some.labels]
            every = [*self.validation.labels, *self.training.labels]
            check_not_shifted(given, seen, every, self.program.classes)
        self.accuracy[when] = found

    def _evaluate(self, samples: Samples, network: nn.Module, stage: str) -> tuple[dict[str, Any], list[int]]:
        """How many images are right, of how many, at what mean cross-entropy; and every prediction.

        An image whose logits are not finite is wrong; the mean is None then.
        """
        size = self.tuning.batch_size
        rows = list(range(len(samples.ids)))
        cut = [rows[at : at + size] for at in range(0, len(rows), size)]
        coming = in_batches(samples, cut, self.model, self.device)
        predictions: list[int] = []
        right, loss = 0, 0.0
        with torch.no_grad():
            for images, labels in self._counted(coming, stage, len(cut)):
                logits = answer(network, self.model, images)
                # Without its activations, and not yet tuned, a network may leave the range of floats: that is wrong.
                finite = torch.isfinite(logits).all(1)
                predicted = torch.where(finite, logits.argmax(1), NO_CLASS)
                right += int((predicted == labels).sum())
                loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
                predictions += predicted.tolist()
        mean = loss / len(rows) if math.isfinite(loss) else None
        return {"right": right, "n": len(rows), "accuracy": right / len(rows), "loss": mean}, predictions

    def _counted(
        self, coming: Iterator[tuple[torch.Tensor, torch.Tensor]], stage: str, total: int
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        self.tell(stage, 0, total, "")
        for done, batch in enumerate(coming, 1):
            yield batch
            self.tell(stage, done, total, "")

    def _tick(self) -> None:
        now = time.monotonic()
        self.seconds, self._clock = self.seconds + now - self._clock, now
