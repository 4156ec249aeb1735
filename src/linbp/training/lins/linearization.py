"""The whole job on samples: measure, remove, recalibrate, tune, measure again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from linbp.data.labels import check_labels, check_not_shifted
from linbp.errors import ImageError, ModelError
from linbp.graph import Position
from linbp.models import Model
from linbp.rules import LinBP
from linbp.rules.sites import Which
from linbp.training.lins.modes import mixes_images
from linbp.training.lins.program import Program
from linbp.training.lins.samples import Samples, counted, in_batches
from linbp.training.lins.trainer import LinsTrainer, diverged
from linbp.training.lins.tuning import Tuning, batches
from linbp.training.loop import Loop, TrainingProgress
from linbp.training.mixed_precision import uses_bfloat16

__all__ = ["Linearization"]

MEASURED = 2000
"""Training images, spread evenly over the list, that accuracy on training data is measured on."""


class Linearization:
    """One job, from the model to the tuned one; arguments and errors are those of `linearize`.

    Attributes:
        loop: all steps of the tuning.
        removed: numbers of the sites that are removed.
        accuracy: what was measured, by when.
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
        progress: TrainingProgress | None = None,
    ) -> None:
        self.tell: TrainingProgress = progress or (lambda stage, done, total, words: None)
        self.model, self.training, self.validation = model, training, validation
        self.tuning, self.trust_labels = tuning, trust_labels
        self.device = model.device if device is None else torch.device(device)
        if model.dtype not in (torch.float32, torch.float64):
            raise ModelError(
                f"{model.name} computes in {str(model.dtype).removeprefix('torch.')}, in which tuning loses its steps.",
                "Load it in float32: module.float().",
            )
        self.mixed = uses_bfloat16(tuning.mixed_precision, model.dtype, self.device)
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
        self.trainer = LinsTrainer(
            model, network, self.program.structure, ends, tuning, self.mixed, training, validation, self.tell
        )
        if mixes_images(network) and min(tuning.batch_size, len(training.ids)) < 2:
            raise ImageError(
                "The network has batch norms, which need two images in every batch.",
                "Give more training images, and a --batch-size of at least 2.",
            )
        self.tell("capturing the network", 1, 1, "")
        self.accuracy: dict[str, Any] = {}
        self.loop = Loop(
            self.trainer,
            epochs=tuning.epochs,
            steps_per_epoch=len(batches(range(len(training.ids)), tuning.batch_size)),
            stage="tuning",
            progress=self.tell,
        )

    @property
    def notes(self) -> list[str]:
        """What a user should know, in words."""
        return [*self.program.notes, *self.trainer.notes]

    def measure_and_recalibrate(self) -> None:
        """Measure the network with its activations and without them, then its statistics anew."""
        assert self._ordinary is not None
        self._measure("before", self._ordinary, labels=True)
        self._ordinary = None
        self._measure("removed", self.trainer.network)
        if self.tuning.recalibrate and self.trainer.recalibrates:
            cut = self.trainer.cut(0)[: self.tuning.recalibrate]
            images = in_batches(self.training, cut, self.model, self.device)
            self.trainer.recalibrate(counted(images, "recalibrating", len(cut), self.tell))
            self._measure("recalibrated", self.trainer.network)

    def state(self) -> dict[str, Any]:
        """Everything that going on needs, for `torch.save`; a ModelError where the weights are not finite."""
        return {**self.loop.state(), "accuracy": self.accuracy}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; a StoreError where it is that of another program."""
        self._ordinary = None
        self.loop.load(state)
        self.accuracy = dict(state["accuracy"])

    def finish(self) -> Model:
        """Measure the network, if it was tuned, and make a model of it.

        Raises:
            ModelError: it is of no use: no image has finite logits, or a weight is not finite.
        """
        if self.loop.steps:
            self._measure("tuned", self.trainer.network)
            if all(found["loss"] is None for found in self.accuracy["tuned"].values()):
                raise diverged("No image has finite logits after the tuning")
        self.trainer.state()  # raises where a number is not finite
        return self.program.finish(self.trainer.network)

    def _measure(self, when: str, network: nn.Module, labels: bool = False) -> None:
        """Put accuracy on validation images and on some training images under one name."""
        count = len(self.training.ids)
        rows = range(count) if count <= MEASURED else [at * count // MEASURED for at in range(MEASURED)]
        some = self.training.subset(rows)
        found, predictions = {}, []
        for name, samples in (("validation", self.validation), ("training", some)):
            found[name], predicted = self.trainer.measure(network, samples, f"accuracy {when} ({name})")
            predictions += predicted
        if labels and not self.trust_labels:
            given = [*self.validation.labels, *some.labels]
            every = [*self.validation.labels, *self.training.labels]
            check_not_shifted(given, predictions, every, self.program.classes)
        self.accuracy[when] = found
