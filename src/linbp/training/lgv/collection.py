"""The run: fine-tuning at a constant high rate, whose weights are handed on at equal distances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from linbp.models import Model
from linbp.training.fine_tuning.job import FineTuningJob
from linbp.training.fine_tuning.samples import Samples
from linbp.training.fine_tuning.trainer import diverged
from linbp.training.lgv.settings import HighRate
from linbp.training.loop import Loop, TrainingProgress

__all__ = ["Collection"]

LOST = 0.5
"""Share of the accuracy on validation images below which the run has left the vicinity of the first weights."""


class Collection(FineTuningJob):
    """One job, from the model to its versions; arguments and errors are those of `refine_lgv`.

    Attributes:
        snapshots: what `keep` said of each version so far, with the step that it was kept after.
    """

    def __init__(
        self,
        model: Model,
        training: Samples,
        validation: Samples,
        *,
        settings: HighRate,
        keep: Callable[[int, int, Model], dict[str, Any]],
        device: str | torch.device | None = None,
        trust_labels: bool = False,
        progress: TrainingProgress | None = None,
    ) -> None:
        super().__init__(
            model,
            training,
            validation,
            tuning=settings.tuning(),
            device=device,
            trust_labels=trust_labels,
            progress=progress,
            stage="collecting weights",
            fall="none",
        )
        self._marks, self._keep = settings.marks(self.loop.steps_per_epoch), keep
        self.snapshots: list[dict[str, Any]] = []
        self.loop.on_step = (self._snapshot,)

    def _snapshot(self, loop: Loop) -> None:
        """Hand on the weights, if it is time: number of the version, of how many, and a model with them."""
        if loop.step not in self._marks:
            return
        self.trainer.state()  # raises where a number is not finite
        number = self._marks.index(loop.step)
        made = self.program.finish(self.trainer.network, f"LGV {number + 1} of {len(self._marks)}")
        kept = self._keep(number, len(self._marks), made)
        self.snapshots.append({"step": loop.step, **kept})

    def state(self) -> dict[str, Any]:
        """Everything that going on needs, for `torch.save`; a ModelError where the weights are not finite."""
        return {**super().state(), "snapshots": self.snapshots}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; a StoreError where it is that of another program."""
        super().load(state)
        self.snapshots = list(state["snapshots"])

    def finish(self) -> list[str]:
        """Measure the last version; what a user should know of it, in words.

        Raises:
            ModelError: it is of no use: no image has finite logits.
        """
        self._measure("refined", self.trainer.network)
        before, after = (self.accuracy[when]["validation"] for when in ("before", "refined"))
        if after["loss"] is None and self.accuracy["refined"]["training"]["loss"] is None:
            raise diverged("No image has finite logits after the run")
        if after["accuracy"] >= LOST * before["accuracy"]:
            return []
        return [
            f"accuracy on validation images fell from {before['accuracy']:.1%} to {after['accuracy']:.1%}: "
            "the learning rate is too high for this network, or the images are too few"
        ]
