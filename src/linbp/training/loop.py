"""The loop of every training: epochs of batches, checkpoints and a history; it can stop and go on at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from linbp.errors import StoreError

__all__ = ["Loop", "Trainer", "TrainingProgress"]

TrainingProgress = Callable[[str, int, int, str], None]
"""Told the stage, how much of it is done, how much there is, and a few words such as `loss 1.23, accuracy 45.6%`."""


class Trainer(Protocol):
    """One kind of training, as the loop drives it. Everything random in it is keyed by seed, epoch and step."""

    def batches(self, epoch: int, first: int) -> Iterable[Any]:
        """The batches of an epoch, counted from 0, from the one of number `first` on."""

    def step(self, batch: Any, loop: Loop) -> None:
        """Take step `loop.step`, counted from 0, of `loop.steps`."""

    def end_epoch(self, loop: Loop) -> dict[str, Any]:
        """What the history keeps of the epoch that has just ended; its sums start from 0 again."""

    def describe(self, entry: Mapping[str, Any] | None) -> str:
        """A few words on the running epoch, or on one that has ended, whose entry of the history is given."""

    def state(self) -> dict[str, Any]:
        """Everything that going on needs, for `torch.save`; a ModelError where a number is not finite."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""


class Loop:
    """All steps of one training.

    Args:
        trainer: what a step, the end of an epoch and the state are.
        epochs: how many there are.
        steps_per_epoch: batches in each.
        stage: what listeners call it.
        progress: told about every step and every end of an epoch.
        on_step: called after every step.

    Attributes:
        step: how many steps are done.
        steps: how many there are.
        history: one entry for each finished epoch, with its number, from 1, as `epoch`.
    """

    def __init__(
        self,
        trainer: Trainer,
        *,
        epochs: int,
        steps_per_epoch: int,
        stage: str,
        progress: TrainingProgress | None = None,
        on_step: Sequence[Callable[[Loop], None]] = (),
    ) -> None:
        self.trainer, self.epochs, self.steps_per_epoch, self.stage = trainer, epochs, steps_per_epoch, stage
        self.on_step = on_step
        self.step, self.steps = 0, epochs * steps_per_epoch
        self.history: list[dict[str, Any]] = []
        self._progress = progress
        self._seconds_before, self._started = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the training took, over all runs."""
        return self._seconds_before + time.monotonic() - self._started

    def state(self) -> dict[str, Any]:
        """Everything that going on needs, for `torch.save`; a ModelError where a number is not finite."""
        state = self.trainer.state()
        return {"trainer": state, "step": self.step, "seconds": self.seconds, "history": self.history}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            StoreError: it is that of another network, or of another version.
        """
        try:
            self.trainer.load(state["trainer"])
            self.step, self.history = int(state["step"]), list(state["history"])
            self._seconds_before = float(state["seconds"])
        except (KeyError, RuntimeError, ValueError) as fault:
            raise StoreError(
                "The checkpoint does not fit the network.",
                "Another version made it: delete checkpoint.pt in the folder to start again from the beginning.",
            ) from fault

    def run(
        self,
        save: Callable[[], None] = lambda: None,
        *,
        every_steps: float = math.inf,
        every_minutes: float = math.inf,
    ) -> None:
        """Take all steps that are left.

        Args:
            save: called at the end of each epoch, and inside epochs, to keep `state`.
            every_steps, every_minutes: how far apart that is inside epochs.

        Raises:
            ModelError: the training diverged.
        """
        self._tell(self.trainer.describe(None))
        while self.step < self.steps:
            epoch, first = divmod(self.step, self.steps_per_epoch)
            saved = time.monotonic()
            for batch in self.trainer.batches(epoch, first):
                self.trainer.step(batch, self)
                self.step += 1
                for hook in self.on_step:
                    hook(self)
                self._tell(self.trainer.describe(None))
                due = self.step % every_steps == 0 or time.monotonic() - saved >= 60 * every_minutes
                if due and self.step % self.steps_per_epoch:
                    save()
                    saved = time.monotonic()
            self.history.append({"epoch": epoch + 1, **self.trainer.end_epoch(self)})
            save()
            self._tell(self.trainer.describe(self.history[-1]))

    def _tell(self, words: str) -> None:
        if self._progress is not None:
            self._progress(self.stage, self.step, self.steps, words)
