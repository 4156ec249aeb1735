"""The whole job on samples: measure, remove, recalibrate, tune, measure again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from linbp.graph import Position, Structure
from linbp.models import Model
from linbp.rules import LinBP
from linbp.rules.sites import Which
from linbp.training.fine_tuning.job import FineTuningJob
from linbp.training.fine_tuning.samples import Samples, counted, in_batches
from linbp.training.fine_tuning.trainer import diverged
from linbp.training.fine_tuning.tuning import Tuning
from linbp.training.loop import TrainingProgress

__all__ = ["Linearization"]


class Linearization(FineTuningJob):
    """One job, from the model to the tuned one; arguments and errors are those of `linearize`.

    Attributes:
        removed: numbers of the sites that are removed.
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
        self._rule = LinBP(start=start, sites=sites, rebalance=None)
        self._ordinary: nn.Module | None = None
        super().__init__(
            model,
            training,
            validation,
            tuning=tuning,
            device=device,
            trust_labels=trust_labels,
            progress=progress,
            stage="tuning",
        )

    def _network(self, structure: Structure) -> tuple[fx.GraphModule, Sequence[str]]:
        self.removed = tuple(self._rule.plan(structure).sites)
        self._ordinary = self.program.network(self.device).eval()
        self.program.remove(self.removed)
        return self.program.network(self.device), self.program.nodes_of(self.removed)

    def begin(self) -> None:
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

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; a StoreError where it is that of another program."""
        self._ordinary = None
        super().load(state)

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
        return self.program.finish(self.trainer.network, "linearized")
