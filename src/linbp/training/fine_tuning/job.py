"""What every fine-tuning of a captured network goes through: checks, measurements, steps, state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from linbp.data.labels import check_labels, check_not_shifted
from linbp.errors import ImageError, ModelError
from linbp.graph import Structure
from linbp.models import Model
from linbp.training.fine_tuning.gradient_penalty import GradientPenalty
from linbp.training.fine_tuning.modes import mixes_images
from linbp.training.fine_tuning.program import Program
from linbp.training.fine_tuning.samples import Samples
from linbp.training.fine_tuning.trainer import FineTuning
from linbp.training.fine_tuning.tuning import Tuning, batches
from linbp.training.loop import Loop, TrainingProgress
from linbp.training.mixed_precision import uses_bfloat16
from linbp.training.schedule import Fall

__all__ = ["FineTuningJob"]

MEASURED = 2000
"""Training images, spread evenly over the list, that accuracy on training data is measured on."""


class FineTuningJob:
    """One network that is trained further on images; each kind of job has a class of its own.

    Args:
        model: any differentiable model; it stays as it is.
        training: images to train on.
        validation: images to measure on.
        tuning: the settings.
        device: where to compute; None: where the model is.
        trust_labels: do not suspect labels of counting from 1.
        progress: told about every stage.
        stage: what listeners call the steps.
        fall: of the learning rate, behind the warm-up.
        penalty: on the length of the gradient.

    Attributes:
        loop: all steps.
        accuracy: what was measured, by when.

    Raises:
        ImageError: labels that do not fit, or too few images.
        ModelError: the network cannot be tuned.
        CaptureError: it cannot be captured.
    """

    program: Program

    def __init__(
        self,
        model: Model,
        training: Samples,
        validation: Samples,
        *,
        tuning: Tuning,
        device: str | torch.device | None,
        trust_labels: bool,
        progress: TrainingProgress | None,
        stage: str,
        fall: Fall = "cosine",
        penalty: GradientPenalty | None = None,
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
        self.tell("capturing the network", 0, 1, "")
        self.program = Program(model)
        network, ends = self._network(self.program.structure)
        for samples in (training, validation):
            check_labels(samples.ids, samples.labels, self.program.classes, network=model.name)
        self.trainer = FineTuning(
            model,
            network,
            self.program.structure,
            ends,
            tuning,
            self.mixed,
            training,
            validation,
            self.tell,
            fall,
            penalty,
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
            stage=stage,
            progress=self.tell,
        )

    def _network(self, structure: Structure) -> tuple[fx.GraphModule, Sequence[str]]:
        """The program's network to train, and the names of the nodes of removed activations."""
        return self.program.network(self.device), ()

    @property
    def notes(self) -> list[str]:
        """What a user should know, in words."""
        return [*self.program.notes, *self.trainer.notes]

    def begin(self) -> None:
        """Measure the network before its first step."""
        self._measure("before", self.trainer.network, labels=True)

    def state(self) -> dict[str, Any]:
        """Everything that going on needs, for `torch.save`; a ModelError where the weights are not finite."""
        return {**self.loop.state(), "accuracy": self.accuracy}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; a StoreError where it is that of another program."""
        self.loop.load(state)
        self.accuracy = dict(state["accuracy"])

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
