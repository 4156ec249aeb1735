"""A run: what is missing is made, answers are asked for, and everything becomes one table of results."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]
import torch

from linbp.bench.clean_images import INDEX, is_clean_image
from linbp.bench.executors.base import Executor
from linbp.bench.executors.here import Here
from linbp.bench.make_plan import make_plan
from linbp.bench.networks import Networks
from linbp.bench.plan import Plan
from linbp.bench.run_files import FACTS, SUBSTITUTE, SUITE, read_object
from linbp.bench.store import Store, open_store
from linbp.bench.suite import Suite, read_suite, suite_of, tomllib
from linbp.bench.table import RESULTS, read_results
from linbp.bench.work import RunWork
from linbp.errors import StoreError, SuiteError
from linbp.jobs.progress import ProgressCallback
from linbp.jobs.tf32 import tf32
from linbp.models import Classifier

if TYPE_CHECKING:
    from linbp.bench.executors.ray import RayCluster

__all__ = ["BenchRun", "run_bench"]


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
        return read_object(self._store, FACTS) or {}


def run_bench(
    suite: str | os.PathLike[str] | Suite,
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    first: int | None = None,
    workers: int = 1,
    ray: str | None = None,
    device: str | None = None,
    models: Mapping[str, Classifier] | None = None,
    command: str = "",
    progress: ProgressCallback | None = None,
    before: Callable[[Plan, Store, Networks], None] | None = None,
) -> BenchRun:
    """Run a suite: every surrogate, recipe, radius and victim, on every image. Run again, it does only what is missing.

    Args:
        suite: a TOML file, the name of one that ships, or a suite.
        out: the folder of the run, new or of an earlier run of this suite; or an fsspec URL, such as `s3://bucket/run`.
        data: where the clean images lie, if not where the suite says: a folder, a CSV or a Parquet file.
        first: only so many images, for a trial.
        workers: processes on this machine.
        ray: address of a Ray cluster (`auto`, `local`, `ray://...`); it takes the place of `workers`.
        device: where networks run, such as `cuda`; default: the CPU.
        models: networks by the names that the suite calls them, instead of loading them; with one worker only.
        command: what the user typed, for the records.
        progress: told how far it is.
        before: called with the plan, the run's store and networks when all is resolved, before any work.

    Raises:
        SuiteError: everything that is wrong with the suite, before any work; or what went wrong with tasks, after
            everything else was done.
        StoreError: the folder holds another run, or cannot be written.
        LinbpError: of any other kind, if there is only one fault.
    """
    tell = progress or (lambda stage, done, total: None)
    given, base = suite_of(suite, data, first)
    if models and (workers > 1 or ray is not None):
        raise SuiteError("Networks that are objects of this process cannot be sent to others.", "Use one worker.")
    store = open_store(out)
    check_same_suite(store, given)
    store.check_writable()
    networks = Networks(device, models)
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch_threads(given.threads if device in (None, "cpu") else None))
        stack.enter_context(tf32(given.tf32))
        cluster = None if ray is None else stack.enter_context(_cluster(ray))
        plan = make_plan(given, base, store, networks, device=device or "cpu", tell=tell)
        work = RunWork(plan, store, networks, tell, command)
        if before is not None:
            before(plan, store, networks)
        work.finish(_executor(plan, networks, store, workers, cluster))
    return BenchRun(store, made=work.made, kept=work.kept)


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
        # A plan that was refused, or ended, may have read the images already.
        others = sorted(
            name
            for name in store.names()
            if name != INDEX and not is_clean_image(name) and not name.startswith(f"{SUBSTITUTE}/")
        )
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


def _cluster(address: str) -> RayCluster:
    """Ray's cluster: whoever misspelt its address shall know at once."""
    from linbp.bench.executors.ray import RayCluster

    return RayCluster(address)


def _executor(
    plan: Plan, networks: Networks, store: Store, workers: int, cluster: RayCluster | None
) -> Callable[[], Executor]:
    """Makes the executor, once it is known that there is something to do."""

    def make() -> Executor:
        if cluster is not None:
            from linbp.bench.executors.ray import RayActors

            networks.drop()
            return RayActors(plan, cluster)
        if workers > 1:
            from linbp.bench.executors.local import LocalWorkers

            networks.drop()
            return LocalWorkers(plan, workers)
        return Here(plan, networks, store)

    return make
