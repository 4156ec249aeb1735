"""A run: what is missing is made, answers are asked for, and everything becomes one table of results."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import torch

from linbp import errors
from linbp.attack.job.adversarial_folder import AdversarialFolder
from linbp.attack.job.manifest import new_manifest
from linbp.bench.collect import collect
from linbp.bench.executors.base import Executor
from linbp.bench.executors.here import Here
from linbp.bench.make_plan import make_plan
from linbp.bench.networks import Networks
from linbp.bench.plan import AnswerTask, Plan, PlannedAttack, Task
from linbp.bench.shards import read_shard
from linbp.bench.store import Store, open_store
from linbp.bench.suite import Suite, read_suite, suite_text, tomllib
from linbp.bench.table import RESULTS, facts_of, read_results, results_bytes
from linbp.bench.tasks import Outcome
from linbp.data.files import MANIFEST, json_bytes
from linbp.data.image_list import not_used
from linbp.data.unused import Unused
from linbp.errors import LinbpError, StoreError, SuiteError
from linbp.jobs.progress import ProgressCallback
from linbp.jobs.provenance import run_facts
from linbp.models import Classifier

__all__ = ["BenchRun", "run_bench"]

SUITE, FACTS = "suite.toml", "run.json"

ROUNDS = 5
"""How often what turns out to be broken is made again, before the disk is blamed."""


class BenchRun:
    """A run, finished or not.

    Args:
        store: where it lies.

    Attributes:
        out: its path or URL.
        made: how many tasks were done now; of a run that was only opened, 0.
        kept: how many were done before.
    """

    def __init__(self, store: Store, *, made: int = 0, kept: int = 0) -> None:
        self._store = store
        self.out, self.made, self.kept = store.url, made, kept

    @classmethod
    def open(cls, out: str | os.PathLike[str]) -> BenchRun:
        """A run that is there already.

        Raises:
            StoreError: it cannot be reached.
        """
        return cls(open_store(out))

    @functools.cached_property
    def results(self) -> pa.Table:
        """The table of results, with the columns of `linbp.bench.table.SCHEMA`.

        Raises:
            StoreError: there is none, or it cannot be read.
        """
        content = self._store.read(RESULTS)
        if content is None:
            raise StoreError(f"{self._store.place(RESULTS)} does not exist.", "Finish the run: linbp bench.")
        return read_results(content)

    @functools.cached_property
    def suite(self) -> Suite:
        """The suite, with its defaults written out.

        Raises:
            StoreError, SuiteError: there is none, or it cannot be read.
        """
        return read_suite(self._store.fetch(SUITE))[0]

    def report(self, *formats: str) -> tuple[str, ...]:
        """Write the run's report into its folder.

        Args:
            formats: `html`, `md`, `latex`, `csv`, `json`, `junit`; by default `html`.

        Returns:
            Where each lies.

        Raises:
            StoreError: it cannot be written, or packages that draw it are missing.
        """
        # Reports stand on runs, and not the other way round: only whoever asks for one loads what writes it.
        source = importlib.import_module("linbp.report.source").open_source(self.out)
        write = importlib.import_module("linbp.report.write")
        return tuple(write.write_reports(write.make_report(source), source, formats or ("html",), None))

    @property
    def facts(self) -> dict[str, Any]:
        """What made the run: networks, versions, commands and times."""
        return _facts(self._store)


def run_bench(
    suite: str | os.PathLike[str] | Suite,
    out: str | os.PathLike[str],
    *,
    workers: int = 1,
    ray: str | None = None,
    device: str | None = None,
    models: Mapping[str, Classifier] | None = None,
    command: str = "",
    progress: ProgressCallback | None = None,
) -> BenchRun:
    """Run a suite: every surrogate, recipe, radius and victim, on every image. Run again, it does only what is missing.

    Args:
        suite: a TOML file, the name of one that ships, or a suite.
        out: the folder of the run, new or of an earlier run of this suite; or an fsspec URL, such as `s3://bucket/run`.
        workers: processes on this machine.
        ray: address of a Ray cluster (`auto`, `local`, `ray://...`); it takes the place of `workers`.
        device: where networks run, such as `cuda`; default: the CPU.
        models: networks by the names that the suite calls them, instead of loading them; with one worker only.
        command: what the user typed, for the records.
        progress: told how far it is.

    Raises:
        SuiteError: everything that is wrong with the suite, before any work; or what went wrong with tasks, after
            everything else was done.
        StoreError: the folder holds another run, or cannot be written.
        LinbpError: of any other kind, if there is only one fault.
    """
    tell = progress or (lambda stage, done, total: None)
    given, base = (suite, Path()) if isinstance(suite, Suite) else read_suite(suite)
    if models and (workers > 1 or ray is not None):
        raise SuiteError("Networks that are objects of this process cannot be sent to others.", "Use one worker.")
    store = open_store(out)
    check_same_suite(store, given)
    networks = Networks(device, models)
    with torch_threads(given.threads if device in (None, "cpu") else None):
        plan = make_plan(given, base, store, networks, device=device or "cpu", tell=tell)
        run = _Run(plan, store, networks, tell, command)
        return run.finish(_executor(plan, networks, store, workers, ray))


@contextlib.contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Inside, torch computes with so many threads: the last digits depend on it."""
    before = torch.get_num_threads()
    try:
        if count is not None:
            torch.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(before)


def check_same_suite(store: Store, suite: Suite) -> None:
    """Refuse the folder of another suite's run, and one of other files.

    Raises:
        StoreError: it is one.
    """
    content = store.read(SUITE)
    if content is None:
        others = sorted(store.names())
        if others:
            raise StoreError(
                f"{store.url} is not empty and holds no {SUITE} (but {others[0]}).", "Choose a new folder (--out)."
            )
        return
    name = _suite_name(content)
    if name != suite.name:
        raise StoreError(
            f"{store.url} holds the run of the suite {name!r}, not of {suite.name!r}.",
            "Choose another folder (--out), or go back to that suite. A suite may change, but not its name.",
        )


def _suite_name(content: bytes) -> str | None:
    try:
        return str(tomllib.loads(content.decode())["name"])
    except (ValueError, KeyError):
        return None


def _executor(plan: Plan, networks: Networks, store: Store, workers: int, ray: str | None) -> Callable[[], Executor]:
    """Makes the executor, once it is known that there is something to do."""

    def make() -> Executor:
        if ray is not None:
            from linbp.bench.executors.ray import RayActors

            networks.drop()
            return RayActors(plan, ray)
        if workers > 1:
            from linbp.bench.executors.local import LocalWorkers

            networks.drop()
            return LocalWorkers(plan, workers)
        return Here(plan, networks, store)

    return make


class _Run:
    """One run of a plan."""

    def __init__(self, plan: Plan, store: Store, networks: Networks, tell: ProgressCallback, command: str) -> None:
        self.plan, self.store, self.networks = plan, store, networks
        self.tell, self.command = tell, command
        self.facts = run_facts(plan.device, command)  # now: it says when the run began
        self.made, self.failures = 0, list[Outcome]()

    def finish(self, executor: Callable[[], Executor]) -> BenchRun:
        """Do what is missing, and write the table."""
        files = list(self.plan.files())
        there = self._there()
        if there.issuperset(files) and self._table_is_current():
            return BenchRun(self.store, kept=len(files))
        self._check_rules(there)
        self.store.write(SUITE, suite_text(self.plan.suite).encode())
        working: Executor | None = None
        try:
            for _ in range(ROUNDS):
                if self._missing(there) and working is None:
                    working = executor()
                if working is not None:
                    self._craft(working, there)
                    self._ask(working, self._there())
                self._write_manifests()
                if self._write_table():
                    break
                there = self._there()
            else:
                raise StoreError(
                    f"{self.store.url}: files that were just written cannot be read back.", "Check the disk."
                )
        finally:
            if working is not None:
                working.close()
        self._write_facts()
        return BenchRun(self.store, made=self.made, kept=len(files) - self.made)

    def _there(self) -> set[str]:
        """The files of finished tasks."""
        found = self.store.names("answers")
        return found.union(*(self.store.names(f"{attack.folder}/shards") for attack in self.plan.attacks))

    def _table_is_current(self) -> bool:
        try:
            content = self.store.read(RESULTS)
            found = {} if content is None else facts_of(read_results(content))
        except StoreError:
            return False
        return found.get("fingerprint") == self.plan.fingerprint and found.get("complete") == "true"

    def _check_rules(self, there: set[str]) -> None:
        """Capture each surrogate and put each recipe's rules into it, before anything is computed."""
        faults: list[LinbpError] = []
        for number, attack in enumerate(self.plan.attacks):
            shards = range(len(self.plan.shards))
            if all(self.plan.marker(number, shard) in there for shard in shards):
                continue
            self.tell("capturing the surrogates", number, len(self.plan.attacks))
            try:
                self.networks.prepared(attack.surrogate, attack.config.recipe)
            except LinbpError as fault:
                where = f"Recipe {attack.recipe.name} on {attack.surrogate.name}: "
                faults.append(type(fault)(where + fault.message, fault.hint))
        self.tell("capturing the surrogates", len(self.plan.attacks), len(self.plan.attacks))
        if faults:
            raise faults[0] if len(faults) == 1 else SuiteError.of(faults)

    def _missing(self, there: set[str]) -> bool:
        return not there.issuperset(self.plan.files())

    def _craft(self, executor: Executor, there: set[str]) -> None:
        tasks = [task for task in self.plan.craft_tasks() if self.plan.marker(task.attack, task.shard) not in there]
        self._do(executor, "crafting", tasks)

    def _ask(self, executor: Executor, there: set[str]) -> None:
        whole = [
            number
            for number in range(len(self.plan.attacks))
            if all(self.plan.marker(number, shard) in there for shard in range(len(self.plan.shards)))
        ]
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
            if outcome.state in ("failed", "crashed"):
                self.failures.append(outcome)
            self.tell(stage, done, total)

        executor.run(tasks, ended, on_step)
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
        for outcome in self.failures:
            if outcome.state == "crashed":
                kind, message, trace = outcome.error
                raise RuntimeError(f"{kind}: {message}\n{trace}")
        faults = [_fault(outcome) for outcome in self.failures]
        if fatal:
            stops = (fault for fault in faults if isinstance(fault, StoreError))
            faults = [next(stops)] if any(isinstance(fault, StoreError) for fault in faults) else []
        if faults:
            raise faults[0] if len(faults) == 1 else SuiteError.of(faults)

    def _write_manifests(self) -> None:
        """Make each attack's folder what `linbp craft` writes, once all of its shards are there."""
        for number, attack in enumerate(self.plan.attacks):
            sha256 = self.plan.images_sha256(attack)
            before = _json(self.store.read(f"{attack.folder}/{MANIFEST}"))
            if before is not None and before.get("settings", {}).get("images_sha256") == sha256:
                continue
            shards = [
                read_shard(self.store.read(self.plan.marker(number, shard)), self.plan.shard_key(number, shard))
                for shard in range(len(self.plan.shards))
            ]
            if any(shard is None for shard in shards):
                continue
            records = [record for shard in shards if shard is not None for record in shard]
            self.store.write(f"{attack.folder}/records.jsonl", b"".join(map(json_bytes, records)))
            self.store.write(f"{attack.folder}/{MANIFEST}", json_bytes(self._manifest(attack, sha256), indent=2))

    def _manifest(self, attack: PlannedAttack, images_sha256: str) -> dict[str, Any]:
        prepared = self.networks.prepared(attack.surrogate, attack.config.recipe)
        settings = {**attack.settings, "images_sha256": images_sha256}
        manifest = new_manifest(settings, attack.config, self.plan.images.records, self._unused, prepared)
        run = {**self.facts, "batch_size": attack.config.batch_size, "kept": 0}
        return {"format": AdversarialFolder.LAYOUT, **manifest, "runs": [run]}

    @functools.cached_property
    def _unused(self) -> tuple[Unused, ...]:
        return (*self.plan.images.unused, *not_used(self.plan.images.records))

    def _write_table(self) -> bool:
        """Write the table of what is there; whether that is everything, or all that can be had."""
        found = collect(self.plan, self.store, self._notes())
        for name in found.broken:
            self.store.delete(name)
        if found.missing and not self.failures:
            return False
        complete = not found.missing
        facts = {
            "suite": self.plan.suite.name,
            "selection": self.plan.selection,
            "complete": str(complete).lower(),
            "fingerprint": self.plan.fingerprint,
        }
        self.store.write(RESULTS, results_bytes(found.table, facts))
        if not complete:
            self._write_facts()
            self._raise_failures(fatal=False)
        return True

    def _notes(self) -> dict[str, str | None]:
        found = {}
        for attack in self.plan.attacks:
            manifest = _json(self.store.read(f"{attack.folder}/{MANIFEST}")) or {}
            found[attack.name] = "; ".join(manifest.get("notes", [])) or None
        return found

    def _write_facts(self) -> None:
        """Add this run to what is known of those before it."""
        facts = _facts(self.store)
        networks = {one.surrogate.name: one.settings["surrogate"] for one in self.plan.attacks}
        networks |= {one.victim.name: one.identity for one in self.plan.victims}
        runs = [*facts.get("runs", []), {**self.facts, "tasks_done": self.made}]
        content = {
            "suite": self.plan.suite.name,
            "images": len(self.plan.images.records),
            "networks": networks,
            "class_names": list(self.plan.class_names),
        }
        self.store.write(FACTS, json_bytes({**content, "runs": runs}, indent=2))


def _fault(outcome: Outcome) -> LinbpError:
    """The error of a task that failed, perhaps in another process."""
    kind, message, hint = outcome.error
    found = getattr(errors, kind, LinbpError)
    if not (isinstance(found, type) and issubclass(found, LinbpError)) or found is errors.LogitsError:
        found = errors.ModelError if found is errors.LogitsError else LinbpError
    return found(message, hint)


def _facts(store: Store) -> dict[str, Any]:
    return _json(store.read(FACTS)) or {}


def _json(content: bytes | None) -> dict[str, Any] | None:
    """A JSON object; None if there is none, or what is there is none."""
    if content is None:
        return None
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
