"""One training in a folder, from the first step to the card; it can be killed and go on at any moment."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from linbp.data.cifar10 import Cifar10
from linbp.errors import ImageError, ModelError, StoreError
from linbp.jobs.lock import locked
from linbp.jobs.provenance import run_facts
from linbp.jobs.settings import refuse_other_settings, write_between_checkpoints
from linbp.models import weights_sha256
from linbp.models.checkpoint import file_sha256, fill, preserved_random_state, read_checkpoint
from linbp.training.cifar10.augment import Epoch
from linbp.training.cifar10.store import RunFolder
from linbp.training.cifar10.trainer import Trainer, count_right
from linbp.zoo.architectures import build
from linbp.zoo.card import make_card, make_page
from linbp.zoo.settings import Training

__all__ = ["Progress", "TrainReport", "train"]

_DEFAULTS = {
    field.name: field.default for field in dataclasses.fields(Training) if field.default is not dataclasses.MISSING
}

Progress = Callable[[int, int, Mapping[str, Any] | None], None]
"""Told the steps that are done, how many there are, and at the end of an epoch its line of the log."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainReport:
    """What `train` did.

    Attributes:
        weights: the file of 16-bit weights; its card lies beside it, as `.json` and `.md`.
        card: its content.
        resumed_at: the step of the checkpoint that this run went on from; None if it began the training.
        already_finished: whether an earlier run had finished it, so that nothing was done.
    """

    weights: Path
    card: dict[str, Any]
    resumed_at: int | None
    already_finished: bool


def train(
    data: Cifar10,
    settings: Training,
    folder: str | os.PathLike[str],
    *,
    device: str | torch.device = "cpu",
    checkpoint_minutes: float = 5.0,
    command: str = "",
    progress: Progress | None = None,
) -> TrainReport:
    """Train one network; run again after an end at any moment, it goes on.

    The folder gets `NAME.safetensors` (the averaged weights, as 16-bit floats), its card `NAME.json` and `NAME.md`,
    where NAME is the architecture's, and `log.jsonl` with a line an epoch; while the training runs, `checkpoint.pt`. A
    run that goes on ends with the weights of an uninterrupted one, bit for bit on a CPU with the same versions and
    threads.

    Args:
        data: images and labels.
        settings: of the training.
        folder: new, empty, or started by the same training.
        device: where to compute; it holds all images.
        checkpoint_minutes: how far apart checkpoints are inside an epoch; each end of an epoch has one.
        command: what the user typed, for the card.
        progress: told about every step.

    Raises:
        StoreError: the folder holds another training, is being written by another process, or the disk is full.
        ImageError: fewer images than a batch.
        ModelError: the training diverged.
    """
    store = RunFolder(folder, settings.architecture)
    store.create()
    wanted = {**dataclasses.asdict(settings), "data_sha256": data.sha256()}
    with locked(store.path):
        store.sweep()
        card = store.read_card()
        state = store.read_checkpoint()
        for found in (card, state):
            if found is not None:
                # A folder may have been begun by a version that did not know all of today's settings.
                refuse_other_settings(store.path, {**_DEFAULTS, **(found.get("settings") or {})}, wanted)
        if card is not None and store.weights.is_file() and file_sha256(store.weights) == card["file_sha256"]:
            store.drop_checkpoint()
            return TrainReport(weights=store.weights, card=card, resumed_at=None, already_finished=True)
        job = _Job(data, settings, wanted, store, torch.device(device), progress)
        resumed = None if state is None else job.resume(state)
        job.runs.append(run_facts(job.device, command) | {"resumed_at_step": resumed})
        job.run(checkpoint_minutes)
        card = job.finish()
    return TrainReport(weights=store.weights, card=card, resumed_at=resumed, already_finished=False)


class _Job:
    """The training and where it stands."""

    def __init__(
        self,
        data: Cifar10,
        settings: Training,
        wanted: dict[str, Any],
        store: RunFolder,
        device: torch.device,
        progress: Progress | None,
    ) -> None:
        if len(data.train_images) < settings.batch_size:
            raise ImageError(
                f"{len(data.train_images)} training images do not fill a batch of {settings.batch_size}.",
                "Use a smaller --batch-size, or more images.",
            )
        self.settings, self.wanted, self.store, self.device = settings, wanted, store, device
        self.tell: Progress = progress or (lambda done, total, entry: None)
        self.train_images, self.train_labels = data.train_images.to(device), data.train_labels.to(device)
        self.test_images, self.test_labels = data.test_images.to(device), data.test_labels.to(device)
        self.per_epoch = len(data.train_images) // settings.batch_size
        self.steps = settings.epochs * self.per_epoch
        self.trainer = Trainer(settings, self.steps, self.per_epoch, device)
        self.step, self.seconds, self._clock = 0, 0.0, time.monotonic()
        self.history: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []

    def resume(self, state: Mapping[str, Any]) -> int:
        """Go on from a checkpoint; the step that it was made behind."""
        try:
            self.trainer.load(state["trainer"])
        except (KeyError, RuntimeError, ValueError) as fault:
            raise StoreError(
                f"The checkpoint in {self.store.path} does not fit {self.settings.architecture}.",
                "It was made by another version: delete it to train again from the beginning.",
            ) from fault
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self.history, self.runs = list(state["history"]), list(state["runs"])
        return self.step

    def run(self, checkpoint_minutes: float) -> None:
        """All steps that are left."""
        if self.history:
            # A run that was killed between checkpoint and log has left a line out.
            self.store.write_log(self.history)
        self.tell(self.step, self.steps, None)
        with _fast_convolutions(self.device):
            self._all_steps(checkpoint_minutes)

    def _all_steps(self, checkpoint_minutes: float) -> None:
        while self.step < self.steps:
            number, at = divmod(self.step, self.per_epoch)
            epoch = Epoch(self.train_images, self.train_labels, self.settings, number)
            saved = time.monotonic()
            for batch in range(at, self.per_epoch):
                self.trainer.step(epoch, batch, self.step)
                self.step += 1
                self.tell(self.step, self.steps, None)
                inside = batch + 1 < self.per_epoch
                if inside and time.monotonic() - saved >= 60 * checkpoint_minutes:
                    self._save()
                    saved = time.monotonic()
            self._end_epoch(number)

    def _end_epoch(self, number: int) -> None:
        loss, right = self.trainer.read_sums()
        average = self.trainer.average
        count = count_right(average, self.test_images, self.test_labels, self.settings.precision == "mixed")
        self._tick()
        entry = {
            "epoch": number + 1,
            "loss": loss / self.per_epoch,
            "accuracy_while_training": right / (self.per_epoch * self.settings.batch_size),
            "test": {"right": count, "n": len(self.test_labels), "share": count / len(self.test_labels)},
            "learning_rate": self.settings.rate_at(self.step - 1, self.steps),
            "seconds": round(self.seconds, 3),
        }
        self.history.append(entry)
        self.trainer.clear_sums()
        self._save()
        self.store.write_log(self.history)
        self.tell(self.step, self.steps, entry)

    def finish(self) -> dict[str, Any]:
        """Write the weights as they ship, measure them as they were written, and write the card."""
        self._tick()
        shipped = {
            name: tensor.half().cpu().contiguous()
            for name, tensor in self.trainer.average.state_dict().items()
            if tensor.is_floating_point()
        }
        broken = [name for name, tensor in shipped.items() if not bool(torch.isfinite(tensor).all())]
        if broken:
            raise ModelError(
                f"{broken[0]} has no place in 16-bit floats.", "Train into another folder with a lower --learning-rate."
            )
        # One entry: safetensors writes several in an order of chance, and the same weights are to be the same file.
        facts = {"linbp": f"{self.settings.architecture}, width {self.settings.width:g}"}
        write_between_checkpoints(self.store.weights, save(shipped, facts))
        with preserved_random_state():
            network = build(self.settings.architecture, self.settings.width).eval()
        fill(network, read_checkpoint(self.store.weights), self.store.weights.name)
        loaded_sha256 = weights_sha256(network.state_dict())
        network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        right = count_right(network, self.test_images, self.test_labels)
        self._tick()
        card = make_card(
            self.settings.architecture,
            self.wanted,
            self.history,
            self.runs,
            images=(len(self.train_labels), len(self.test_labels)),
            right=right,
            seconds=self.seconds,
            weights={
                "file": self.store.weights.name,
                "bytes": self.store.weights.stat().st_size,
                "file_sha256": file_sha256(self.store.weights),
                "weights_sha256": loaded_sha256,
            },
        )
        write_between_checkpoints(self.store.page, make_page(card).encode())
        # Last: a card says that the training is finished.
        write_between_checkpoints(self.store.card, (json.dumps(card, indent=2, allow_nan=False) + "\n").encode())
        self.store.drop_checkpoint()
        return card

    def _save(self) -> None:
        self._tick()
        self.store.write_checkpoint(
            {
                "settings": self.wanted,
                "trainer": self.trainer.state(),
                "step": self.step,
                "seconds": self.seconds,
                "history": self.history,
                "runs": self.runs,
            }
        )

    def _tick(self) -> None:
        now = time.monotonic()
        self.seconds, self._clock = self.seconds + now - self._clock, now


def _fast_convolutions(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """On GPUs, the fastest kernels for shapes that stay the same are looked for in the first steps."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    found: contextlib.AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=True, benchmark=True)
    return found
