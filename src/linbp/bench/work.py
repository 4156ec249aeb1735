"""What one process does to finish a run: what is missing is made and asked for, and everything becomes one table."""

from __future__ import annotations

import functools
import hashlib
import os
import random
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from linbp import errors
from linbp.attack.job.adversarial_folder import AdversarialFolder
from linbp.attack.job.manifest import new_manifest
from linbp.bench.collect import collect
from linbp.bench.executors.base import Executor
from linbp.bench.networks import Networks
from linbp.bench.order import own_order
from linbp.bench.plan import AnswerTask, CraftTask, Plan, PlannedAttack, Task
from linbp.bench.run_files import FACTS, SUITE, read_object
from linbp.bench.shards import read_shard
from linbp.bench.space import bytes_of, check_space
from linbp.bench.store import Store
from linbp.bench.suite import suite_text
from linbp.bench.table import RESULTS, results_bytes
from linbp.bench.tasks import Outcome
from linbp.data.files import MANIFEST, json_bytes
from linbp.data.image_list import ImageList, not_used
from linbp.data.unused import Unused
from linbp.errors import LinbpError, StoreError, SuiteError
from linbp.jobs.progress import ProgressCallback
from linbp.jobs.provenance import run_facts

__all__ = ["RunWork", "fault_of"]

RECORDS = "records.jsonl"

ROUNDS = 5
"""How often what turns out to be broken is made again, before the disk is blamed."""


class RunWork:
    """What one process does to finish a run.

    Args:
        plan: of the run.
        store: where it lies.
        networks: that were loaded for the plan.
        tell: told how far it is.
        command: what the user typed.

    Attributes:
        made: how many tasks were done.
        kept: how many had been done before.
    """

    def __init__(self, plan: Plan, store: Store, networks: Networks, tell: ProgressCallback, command: str) -> None:
        self.plan, self.store, self.networks, self.tell = plan, store, networks, tell
        self.facts = run_facts(plan.device, command)  # now: it says when the run began
        self.files = frozenset(plan.files())
        self.made = 0
        self._draw = random.Random(f"{socket.gethostname()} {os.getpid()} {time.time_ns()}")
        self._crafted: set[int] = set()
        self._failures: list[Outcome] = []

    @property
    def kept(self) -> int:
        """How many tasks had been done before."""
        return len(self.files) - self.made

    def finish(self, executor: Callable[[], Executor]) -> None:
        """Do what is missing, and write the table.

        Raises:
            LinbpError: a task failed, or the store cannot be written; what is finished is kept.
        """
        there = self._there()
        if self.files <= there and self._table_is_current():
            return
        crafts = [one for one in self.plan.craft_tasks() if self.plan.marker(one.attack, one.shard) not in there]
        asks = [one for one in self.plan.answer_tasks() if self.plan.answers(one) not in there]
        check_space(self.store, bytes_of(self.plan, crafts, asks))
        self._check_rules(there)
        self.store.write(SUITE, suite_text(self.plan.suite).encode())
        working: Executor | None = None
        try:
            for _ in range(ROUNDS):
                if not self.files <= there and working is None:
                    working = executor()
                if working is not None:
                    self._craft(working, there)
                    self._ask(working, self._there())
                self._write_manifests()
                if self._write_table():
                    return
                there = self._there()
            raise StoreError(f"{self.store.url}: files that were just written cannot be read back.", "Check the disk.")
        finally:
            if working is not None:
                working.close()

    def _there(self) -> set[str]:
        """The files of finished tasks."""
        found = self.store.names("answers")
        return found.union(*(self.store.names(f"{attack.folder}/shards") for attack in self.plan.attacks))

    def _whole(self, attack: int, there: set[str]) -> bool:
        return all(self.plan.marker(attack, shard) in there for shard in range(len(self.plan.shards)))

    def _table_is_current(self) -> bool:
        content = self.store.read(RESULTS)
        told = (read_object(self.store, FACTS) or {}).get("results")
        return content is not None and told == self._table_facts(content, complete=True)

    def _table_facts(self, content: bytes, *, complete: bool) -> dict[str, Any]:
        sha256 = hashlib.sha256(content).hexdigest()
        return {"sha256": sha256, "fingerprint": self.plan.fingerprint, "complete": complete}

    def _check_rules(self, there: set[str]) -> None:
        """Capture each surrogate and put each recipe's rules into it, before anything is computed."""
        faults: list[LinbpError] = []
        for number, attack in enumerate(self.plan.attacks):
            if self._whole(number, there):
                continue
            self.tell("capturing the surrogates", number, len(self.plan.attacks))
            try:
                self.networks.prepared(attack.surrogate, attack.config.recipe)
            except LinbpError as fault:
                where = f"Recipe {attack.recipe.name} on {attack.surrogate.name}: "
                faults.append(type(fault)(where + fault.message, fault.hint))
        self.tell("capturing the surrogates", len(self.plan.attacks), len(self.plan.attacks))
        if faults:
            raise SuiteError.of(faults)

    def _craft(self, executor: Executor, there: set[str]) -> None:
        tasks = [task for task in self.plan.craft_tasks() if self.plan.marker(task.attack, task.shard) not in there]
        self._do(executor, "crafting", tasks)

    def _ask(self, executor: Executor, there: set[str]) -> None:
        whole = [number for number in range(len(self.plan.attacks)) if self._whole(number, there)]
        tasks = [task for task in self.plan.answer_tasks(whole) if self.plan.answers(task) not in there]
        self._do(executor, "asking the victims", tasks)

    def _do(self, executor: Executor, stage: str, tasks: Sequence[Task]) -> None:
        if not tasks:
            return
        total, done, steps = sum(map(self._effort, tasks)), 0, 0
        self.tell(stage, 0, total)

        def on_step(count: int) -> None:
            nonlocal steps
            steps += count
            self.tell(stage, min(done + steps, total), total)

        def ended(outcome: Outcome) -> None:
            nonlocal done, steps
            done, steps = done + self._effort(outcome.task), 0
            self.made += outcome.state == "done"
            if outcome.state == "done" and isinstance(outcome.task, CraftTask):
                self._crafted.add(outcome.task.attack)
            if outcome.state in ("failed", "crashed"):
                self._failures.append(outcome)
            self.tell(stage, done, total)

        executor.run(own_order(self.plan, tasks, self._draw), ended, on_step)
        self._raise_failures(fatal=True)

    def _effort(self, task: Task) -> int:
        """Steps of all images of an attack, or images of an answer."""
        images = len(self.plan.shards[task.shard])
        if isinstance(task, AnswerTask):
            return images
        config = self.plan.attacks[task.attack].config
        return images * config.recipe.all_steps(config.steps)

    def _raise_failures(self, *, fatal: bool) -> None:
        """Raise what went wrong: what stops everything at once, the rest after everything else was done."""
        for outcome in self._failures:
            if outcome.state == "crashed":
                kind, message, trace = outcome.error
                raise RuntimeError(f"{kind}: {message}\n{trace}")
        faults = [fault_of(outcome) for outcome in self._failures]
        if fatal:
            faults = [fault for fault in faults if type(fault) is StoreError]
        if faults:
            raise SuiteError.of(faults)

    def _write_manifests(self) -> None:
        """Make each attack's folder what `linbp craft` writes, once all of its shards are there."""
        for number, attack in enumerate(self.plan.attacks):
            sha256 = self.plan.images_sha256(attack)
            before = read_object(self.store, f"{attack.folder}/{MANIFEST}")
            same = before is not None and before.get("settings", {}).get("images_sha256") == sha256
            if same and number not in self._crafted and self.store.exists(f"{attack.folder}/{RECORDS}"):
                continue
            records: list[dict[str, Any]] = []
            for shard in range(len(self.plan.shards)):
                found = read_shard(self.store.read(self.plan.marker(number, shard)), self.plan.shard_key(number, shard))
                if found is None:
                    break
                records += found
            else:
                self.store.write(f"{attack.folder}/{RECORDS}", b"".join(map(json_bytes, records)))
                self.store.write(f"{attack.folder}/{MANIFEST}", json_bytes(self._manifest(attack, sha256), indent=2))
        self._crafted.clear()

    def _manifest(self, attack: PlannedAttack, images_sha256: str) -> dict[str, Any]:
        prepared = self.networks.prepared(attack.surrogate, attack.config.recipe)
        settings = {**attack.settings, "images_sha256": images_sha256}
        manifest = new_manifest(settings, attack.config, self._listed, self._unused, prepared)
        run = {**self.facts, "batch_size": attack.config.batch_size, "kept": 0}
        return {"format": AdversarialFolder.LAYOUT, **manifest, "runs": [run]}

    @functools.cached_property
    def _listed(self) -> ImageList:
        images = self.plan.images
        return ImageList(images.records, source=images.source, notes=images.notes)

    @functools.cached_property
    def _unused(self) -> tuple[Unused, ...]:
        return (*self.plan.images.unused, *not_used(self.plan.images.records))

    def _write_table(self) -> bool:
        """Write the table of what is there; whether that is everything.

        Raises:
            LinbpError: it is all that can be had, because tasks failed.
        """
        found = collect(self.plan, self.store, self._notes())
        for name in found.broken:
            self.store.delete(name)
        if found.missing and not self._failures:
            return False
        complete = not found.missing
        told = {
            "suite": self.plan.suite.name,
            "selection": self.plan.selection,
            "complete": str(complete).lower(),
            "fingerprint": self.plan.fingerprint,
        }
        content = results_bytes(found.table, told)
        self.store.write(RESULTS, content)
        self._write_facts(self._table_facts(content, complete=complete))
        self._raise_failures(fatal=False)
        return True

    def _notes(self) -> dict[str, str | None]:
        found = {}
        for attack in self.plan.attacks:
            manifest = read_object(self.store, f"{attack.folder}/{MANIFEST}") or {}
            found[attack.name] = "; ".join(manifest.get("notes", [])) or None
        return found

    def _write_facts(self, results: dict[str, Any]) -> None:
        """Add this run to what is known of those before it."""
        before = read_object(self.store, FACTS) or {}
        networks = {one.surrogate.name: one.settings["surrogate"] for one in self.plan.attacks}
        networks |= {one.victim.name: one.identity for one in self.plan.victims}
        content = {
            "suite": self.plan.suite.name,
            "images": len(self.plan.images.records),
            "networks": networks,
            "class_names": list(self.plan.class_names),
            "results": results,
            "runs": [*before.get("runs", []), {**self.facts, "tasks_done": self.made}],
        }
        self.store.write(FACTS, json_bytes(content, indent=2))


def fault_of(outcome: Outcome) -> LinbpError:
    """The error of a task that failed, perhaps in another process."""
    kind, message, hint = outcome.error
    found = errors.ModelError if kind == "LogitsError" else getattr(errors, kind, LinbpError)
    return found(message, hint) if isinstance(found, type) and issubclass(found, LinbpError) else LinbpError(message)
