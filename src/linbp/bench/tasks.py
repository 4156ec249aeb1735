"""Do one task of a run: a shard of adversarial images, or a victim's answers to a shard."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from linbp.attack.job.batch import craft_batch
from linbp.attack.job.images import read_pool
from linbp.attack.pool import Pool
from linbp.bench.answers import Answers
from linbp.bench.networks import Networks
from linbp.bench.plan import AnswerTask, CraftTask, Plan, PlannedAttack, Task
from linbp.bench.shards import read_shard, shard_bytes
from linbp.bench.store import Store, open_store
from linbp.data.image_list import ImageRecord
from linbp.data.images import Pixels, pixel_sha256, png_bytes, read_ahead, size_batches
from linbp.data.labels import LOOKED_AT, check_not_shifted
from linbp.errors import ImageError, LinbpError, ModelError, StoreError
from linbp.evaluation.predict import predict
from linbp.jobs.tf32 import set_tf32

__all__ = ["Outcome", "Worker"]

DECODERS = 4
"""Threads that decode images ahead of a task."""


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes:
        task: which.
        state: `done`; `there` if another process had done it; `broken` if the shard that it needs is not whole;
            `failed` by a fault of the user; `crashed` by anything else.
        error: type, message and hint, of a failed one; the traceback of a crashed one.
    """

    task: Task
    state: str
    error: tuple[str, str, str] = ("", "", "")


class Worker:
    """Does the tasks of a plan, in any process on any machine.

    Args:
        plan: of the run.
        networks: that this process has already, or None.
        store: of the run, where this process has it open already.
    """

    def __init__(self, plan: Plan, networks: Networks | None = None, store: Store | None = None) -> None:
        if os.path.isdir(plan.folder) and os.getcwd() != plan.folder:
            os.chdir(plan.folder)  # names of networks are relative to where the run was started
        self.plan = plan
        self.networks = networks or Networks(plan.device)
        self.store = store or open_store(plan.store)
        self._pools: dict[str, Pool] = {}
        if plan.device == "cpu":
            torch.set_num_threads(plan.suite.threads)
        if plan.suite.tf32 is not None:
            set_tf32(plan.suite.tf32)

    def run(self, task: Task, on_step: Callable[[int], None] | None = None) -> Outcome:
        """Do one task; what goes wrong is told, not raised.

        Args:
            task: of the plan.
            on_step: called after each step of an attack with the number of its images.
        """
        try:
            if isinstance(task, CraftTask):
                return Outcome(task, self._craft(task, on_step or (lambda count: None)))
            return Outcome(task, self._ask(task))
        except LinbpError as fault:
            return Outcome(task, "failed", (type(fault).__name__, fault.message, fault.hint))
        except MemoryError as error:
            return Outcome(task, "failed", _out_of_memory(error))
        except torch.OutOfMemoryError as error:
            return Outcome(task, "failed", _out_of_memory(error))
        except Exception as error:  # the process that started this one shall tell it, and not lose the others' work
            return Outcome(task, "crashed", (type(error).__name__, str(error), traceback.format_exc()))

    def ready(self) -> None:
        """Do nothing: whoever waits for it knows that this process has started."""

    def _craft(self, task: CraftTask, on_step: Callable[[int], None]) -> str:
        marker = self.plan.marker(task.attack, task.shard)
        if self.store.exists(marker):
            return "there"
        attack = self.plan.attacks[task.attack]
        prepared = self.networks.prepared(attack.surrogate, attack.config.recipe)
        rows = self.plan.shards[task.shard]
        sizes = self.plan.images.sizes[attack.view][rows.start : rows.stop]
        batches = [[rows[row] for row in batch] for batch in size_batches(sizes, attack.config.batch_size)]
        coming = self._clean(attack, [row for batch in batches for row in batch])
        made: dict[int, dict[str, Any]] = {}
        for batch in batches:
            clean = np.stack([next(coming) for _ in batch])
            records = [self.plan.images.records[row] for row in batch]

            def advance(count: int = len(batch)) -> None:
                on_step(count)

            levels, found = craft_batch(prepared, attack.config, records, clean, self._pool(attack), advance)
            for row, pixels, record in zip(batch, levels, found, strict=True):
                self.store.write(f"{attack.folder}/{record['image_id']}.png", png_bytes(pixels))
                made[row] = {**record, "file": self.file_of(self.plan.images.records[row])}
        next(coming, None)  # it ends here: where it is collected instead, a Ctrl-C would be lost
        in_order = [made[row] for row in rows]
        if task.shard == 0 and attack.config.labels == "given" and not self.plan.suite.trust_labels:
            self._check_labels(in_order, prepared.ensemble.classes)
        self.store.write(marker, shard_bytes(in_order, self.plan.shard_key(task.attack, task.shard)))
        return "done"

    def _check_labels(self, records: Sequence[dict[str, Any]], classes: int) -> None:
        """Suspect shifted labels as soon as the surrogate has answered the first of them."""
        labels = [int(record["label"]) for record in records[:LOOKED_AT]]
        predictions = [int(record["prediction_clean"]) for record in records[:LOOKED_AT]]
        every = [one.label for one in self.plan.images.records if one.label is not None]
        check_not_shifted(labels, predictions, every, classes)

    def _ask(self, task: AnswerTask) -> str:
        name = self.plan.answers(task)
        if self.store.exists(name):
            return "there"
        attack, victim = self.plan.attacks[task.attack], self.plan.victims[task.victim]
        rows = self.plan.shards[task.shard]
        hashes: Sequence[str] = self.plan.images.hashes[attack.view][rows.start : rows.stop]
        images: Iterator[Pixels]
        if task.clean:
            images = self._clean(attack, rows)
        else:
            marker = self.plan.marker(task.attack, task.shard)
            records = read_shard(self.store.read(marker), self.plan.shard_key(task.attack, task.shard))
            if records is None:
                self.store.delete(marker)
                return "broken"
            hashes = [str(record["sha256"]) for record in records]
            images = self._adv(attack, [str(record["image_id"]) for record in records])
        levels = []
        try:
            for pixels, wanted in zip(images, hashes, strict=True):
                if pixel_sha256(pixels) != wanted:
                    raise ImageError("The pixels are not those that were recorded.", "")
                levels.append(pixels)
        except ImageError:
            if task.clean:
                raise
            self.store.delete(self.plan.marker(task.attack, task.shard))
            return "broken"
        network = self.networks.network(victim.victim.model)
        batches = size_batches([one.shape[:2] for one in levels], self.plan.suite.victim_batch_size)
        try:
            predictions, classes = predict(
                network,
                (np.stack([levels[row] for row in batch]) for batch in batches),
                preprocess=victim.preprocessing[attack.surrogate.name].apply,
            )
        except ModelError as fault:
            ids = self.plan.images.ids
            where = f"{'clean' if task.clean else attack.name} images {ids[rows[0]]} to {ids[rows[-1]]}"
            raise ModelError(f"Victim {victim.victim.name}: {fault.message} ({where})", fault.hint) from fault
        in_order = np.empty_like(predictions)
        in_order[[row for batch in batches for row in batch]] = predictions
        self.store.write(name, Answers(tuple(hashes), in_order, classes).to_bytes(name))
        return "done"

    def _clean(self, attack: PlannedAttack, rows: Sequence[int]) -> Iterator[Pixels]:
        """The clean images of some rows, prepared.

        Raises:
            ImageError: one was changed since the plan was made.
        """
        records = [self.plan.images.records[row] for row in rows]
        paths = [record.path if self.plan.images.own_files else self._fetched(record) for record in records]
        prepare = None if attack.preparation is None else attack.preparation.apply
        hashes = self.plan.images.hashes[attack.view]
        for row, path, pixels in zip(rows, paths, read_ahead(paths, DECODERS, prepare), strict=True):
            if pixel_sha256(pixels) != hashes[row]:
                raise ImageError(f"Image {path} was changed during the run.", "Start the same command again.")
            yield pixels

    def _fetched(self, record: ImageRecord) -> Path:
        return self.store.fetch(record.path.as_posix())

    def _adv(self, attack: PlannedAttack, ids: Sequence[str]) -> Iterator[Pixels]:
        """The adversarial images of some ids, read back from where they were written."""
        return read_ahead([self.store.fetch(f"{attack.folder}/{image_id}.png") for image_id in ids], DECODERS)

    def _pool(self, attack: PlannedAttack) -> Pool | None:
        if not attack.needs_pool:
            return None
        if attack.view not in self._pools:
            self._pools[attack.view] = read_pool(self.plan.pool, attack.preparation, DECODERS, lambda *_: None)
        return self._pools[attack.view]

    def file_of(self, record: ImageRecord) -> str:
        """Where a clean image lies, for the records."""
        if self.plan.images.own_files:
            return str(record.path.resolve())
        return self.store.place(record.path.as_posix())


def _out_of_memory(error: BaseException) -> tuple[str, str, str]:
    return StoreError.__name__, f"Out of memory: {error}", "Use a smaller batch_size in the suite; the rest is kept."
