"""One training in a folder, from the first step to the card; it can be killed and go on at any moment."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from linbp.data.cifar10 import Cifar10
from linbp.data.files import json_bytes
from linbp.errors import ModelError
from linbp.jobs.provenance import run_facts
from linbp.jobs.settings import refuse_other_settings
from linbp.models import weights_sha256
from linbp.models.checkpoint import file_sha256, fill, preserved_random_state, read_checkpoint
from linbp.training.cifar10.store import ZooFolder
from linbp.training.cifar10.trainer import ZooTrainer, count_right
from linbp.training.loop import Loop, TrainingProgress
from linbp.zoo.architectures import build
from linbp.zoo.card import make_card, make_page
from linbp.zoo.settings import Training

__all__ = ["TrainReport", "train"]

_DEFAULTS = {
    **{f.name: f.default for f in dataclasses.fields(Training) if f.default is not dataclasses.MISSING},
    "first_weights": None,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainReport:
    """What `train` did.

    Attributes:
        weights: the file of 16-bit weights; its card lies beside it, as `.json` and `.md`.
        card: its content.
        resumed_at: the step of the checkpoint that this run went on from; None if it started the training.
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
    first_weights: Mapping[str, torch.Tensor] | None = None,
    checkpoint_minutes: float = 5.0,
    command: str = "",
    progress: TrainingProgress | None = None,
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
        first_weights: to start from, a state dict of the same architecture and width, whose hash goes into the card; by
            default weights are drawn from the seed.
        checkpoint_minutes: how far apart checkpoints are inside an epoch; each end of an epoch has one.
        command: what the user typed, for the card.
        progress: told about every step, and at the end of an epoch what came of it.

    Raises:
        StoreError: the folder holds another training, is being written by another process, or the disk is full.
        ImageError: fewer images than a batch.
        ModelError: the training diverged, or the first weights do not fit.
    """
    store, place = ZooFolder(folder, settings.architecture), torch.device(device)
    given = None if first_weights is None else weights_sha256(first_weights)
    wanted = {**dataclasses.asdict(settings), "first_weights": given, "data_sha256": data.sha256()}
    with store.locked():
        card, state = store.read_card(), store.read_checkpoint()
        for found in (card, state):
            if found is not None:
                # An earlier version, which did not know all of today's settings, may have written the folder.
                refuse_other_settings(store.path, {**_DEFAULTS, **(found.get("settings") or {})}, wanted)
        if card is not None and store.weights.is_file() and file_sha256(store.weights) == card["file_sha256"]:
            store.drop_checkpoint()
            return TrainReport(weights=store.weights, card=card, resumed_at=None, already_finished=True)
        trainer = ZooTrainer(settings, data, place, first_weights)
        loop = Loop(
            trainer,
            epochs=settings.epochs,
            steps_per_epoch=trainer.steps_per_epoch,
            stage=settings.architecture,
            progress=progress,
        )
        runs, resumed_at = [], None
        if state is not None:
            loop.load(state)
            runs, resumed_at = list(state["runs"]), loop.step
            store.log.replace(loop.history)  # a run that was killed between checkpoint and log has left a line out
        runs.append(run_facts(place, command) | {"resumed_at_step": resumed_at})

        def keep() -> None:
            store.write_checkpoint({"settings": wanted, **loop.state(), "runs": runs})
            store.log.replace(loop.history)

        with _fastest_convolutions(place):
            loop.run(keep, every_minutes=checkpoint_minutes)
        card = _finish(store, trainer, loop, wanted, runs)
    return TrainReport(weights=store.weights, card=card, resumed_at=resumed_at, already_finished=False)


def _finish(
    store: ZooFolder, trainer: ZooTrainer, loop: Loop, wanted: dict[str, Any], runs: list[dict[str, Any]]
) -> dict[str, Any]:
    """Write the weights as they ship, measure them as they were written, and write the card."""
    settings = trainer.settings
    shipped = {
        name: tensor.half().cpu().contiguous()
        for name, tensor in trainer.average.state_dict().items()
        if tensor.is_floating_point()
    }
    broken = [name for name, tensor in shipped.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise ModelError(
            f"{broken[0]} has no place in 16-bit floats.", "Train into another folder with a lower --learning-rate."
        )
    # One entry: safetensors writes several in an order of chance, and the same weights are to be the same file.
    facts = {"linbp": f"{settings.architecture}, width {settings.width:g}"}
    store.write(store.weights.name, save(shipped, facts))
    with preserved_random_state():
        network = build(settings.architecture, settings.width, settings.activation).eval()
    fill(network, read_checkpoint(store.weights), store.weights.name)
    loaded_sha256 = weights_sha256(network.state_dict())
    network.to(trainer.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    right = count_right(network, trainer.test_images, trainer.test_labels)
    card = make_card(
        settings.architecture,
        wanted,
        loop.history,
        runs,
        images=(len(trainer.train_labels), len(trainer.test_labels)),
        right=right,
        seconds=loop.seconds,
        weights={
            "file": store.weights.name,
            "bytes": store.weights.stat().st_size,
            "file_sha256": file_sha256(store.weights),
            "weights_sha256": loaded_sha256,
        },
    )
    store.write(store.page.name, make_page(card).encode())
    # Last: a card says that the training is finished.
    store.write(store.card.name, json_bytes(card, indent=2, allow_nan=False))
    store.drop_checkpoint()
    return card


def _fastest_convolutions(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """On GPUs, the fastest kernels for shapes that stay the same are looked for in the first steps."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    found: contextlib.AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=True, benchmark=True)
    return found
