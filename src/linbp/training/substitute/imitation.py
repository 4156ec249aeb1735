"""The run: a network is trained on a victim's answers, and its agreement with the victim is measured."""

from __future__ import annotations

from collections.abc import Collection

import torch

from linbp.models import Model
from linbp.training.fine_tuning.job import FineTuningJob
from linbp.training.fine_tuning.samples import Samples
from linbp.training.fine_tuning.trainer import diverged
from linbp.training.fine_tuning.tuning import Tuning
from linbp.training.loop import TrainingProgress

__all__ = ["Imitation"]


class Imitation(FineTuningJob):
    """One job, from the backbone to the substitute; arguments and errors are those of `make_substitute`."""

    def __init__(
        self,
        model: Model,
        training: Samples,
        validation: Samples,
        *,
        victim: str,
        tuning: Tuning,
        device: str | torch.device | None = None,
        progress: TrainingProgress | None = None,
    ) -> None:
        self._victim = victim
        super().__init__(
            model,
            training,
            validation,
            tuning=tuning,
            device=device,
            trust_labels=True,  # they are the victim's
            progress=progress,
            stage="training the substitute",
        )

    @property
    def notes(self) -> list[str]:
        """What a user should know, in words."""
        found, never = super().notes, self.classes_never_said
        if never:
            shown = ", ".join(map(str, sorted(never)[:5])) + (", ..." if len(never) > 5 else "")
            found.append(
                f"the victim said none of {len(never)} of its {self.program.classes} classes ({shown}): the substitute "
                "knows nothing of them"
            )
        return found

    @property
    def classes_never_said(self) -> Collection[int]:
        """The classes that no image to train on has."""
        return set(range(self.program.classes)) - set(self.training.labels)

    def begin(self) -> None:
        """Measure the backbone, whose new last layer knows nothing yet."""
        self._measure("before", self.trainer.network)

    def finish(self) -> Model:
        """Measure the substitute, and make a model of it.

        Raises:
            ModelError: it is of no use: no image has finite logits, or a weight is not finite.
        """
        self._measure("substitute", self.trainer.network)
        if all(found["loss"] is None for found in self.accuracy["substitute"].values()):
            raise diverged("No image has finite logits after the training")
        self.trainer.state()  # raises where a number is not finite
        return self.program.finish(self.trainer.network, f"substitute of {self._victim}")
