"""The run: fine-tuning at a constant high rate, of whose weights the mean and the deviations are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from linbp.models import Model
from linbp.models.sampled import draw_weights
from linbp.training.fine_tuning.job import FineTuningJob
from linbp.training.fine_tuning.samples import Samples, counted, in_batches
from linbp.training.fine_tuning.trainer import diverged
from linbp.training.loop import Loop, TrainingProgress
from linbp.training.mba.moments import Moments
from linbp.training.mba.settings import Bayesian

__all__ = ["Posterior"]

LOST = 0.5
"""Share of the accuracy on validation images below which drawn weights are called too far away."""


class Posterior(FineTuningJob):
    """One job, from the model to the distribution; arguments and errors are those of `refine_mba`.

    Attributes:
        moments: of the weights so far.
    """

    def __init__(
        self,
        model: Model,
        training: Samples,
        validation: Samples,
        *,
        settings: Bayesian,
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
            penalty=settings.gradient_penalty(),
        )
        self.settings, self._marks = settings, frozenset(settings.marks(self.loop.steps_per_epoch))
        self._weights = dict(self.trainer.network.named_parameters())
        self.moments = Moments(self._weights)
        self.loop.on_step = (self._count,)

    def _count(self, loop: Loop) -> None:
        if loop.step in self._marks:
            self.trainer.state()  # raises where a number is not finite
            self.moments.add(self._weights)

    def state(self) -> dict[str, Any]:
        """Everything that going on needs, for `torch.save`; a ModelError where the weights are not finite."""
        return {**super().state(), "moments": self.moments.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; a StoreError where it is that of another program."""
        super().load(state)
        self.moments.load(state["moments"])

    def same(self) -> dict[str, str]:
        """Tensors that have two names: the second name, and the one that their deviation has."""
        first = {id(tensor): name for name, tensor in self._weights.items()}
        every = self.trainer.network.state_dict(keep_vars=True)
        return {name: first[id(tensor)] for name, tensor in every.items() if first.get(id(tensor), name) != name}

    def deviations(self) -> dict[str, torch.Tensor]:
        """The standard deviation of each weight, in its own dtype, on the CPU."""
        found = self.moments.deviations()
        return {name: found[name].to(tensor.dtype).cpu().contiguous() for name, tensor in self._weights.items()}

    def finish(self) -> tuple[Model, list[str]]:
        """The network with the mean weights, its statistics measured anew, and what a user should know, in words.

        One draw of the weights is measured too, under `drawn`.

        Raises:
            ModelError: it is of no use: no image has finite logits.
        """
        deviations = self.deviations()
        self._put(self.moments.mean())
        cut = self.trainer.cut(0)
        images = in_batches(self.training, cut, self.model, self.device)
        self.trainer.recalibrate(counted(images, "measuring statistics", len(cut), self.tell), everywhere=True)
        self._measure("refined", self.trainer.network)
        if all(found["loss"] is None for found in self.accuracy["refined"].values()):
            raise diverged("No image has finite logits after the run")
        self.trainer.state()  # raises where a number is not finite
        mean = {name: tensor.detach().clone() for name, tensor in self._weights.items()}
        self._put(draw_weights(mean, deviations, scale=self.settings.scale, seed=self.settings.seed, number=0))
        self._measure("drawn", self.trainer.network)
        self._put(mean)
        before, drawn = (self.accuracy[when]["validation"]["accuracy"] for when in ("before", "drawn"))
        notes = []
        if drawn < LOST * before:
            notes.append(
                f"accuracy on validation images falls from {before:.1%} to {drawn:.1%} where weights are drawn: "
                "the learning rate or the scale is too high for this network, or the images are too few"
            )
        return self.program.finish(self.trainer.network, "mean of MBA"), notes

    @torch.no_grad()
    def _put(self, weights: Mapping[str, torch.Tensor]) -> None:
        for name, tensor in self._weights.items():
            tensor.copy_(weights[name])
