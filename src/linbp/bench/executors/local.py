"""Tasks in several processes of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

from linbp.bench.executors.base import Queue, Tell
from linbp.bench.plan import Plan, Task
from linbp.bench.tasks import Outcome, Worker
from linbp.errors import StoreError

__all__ = ["LocalWorkers"]

LOST = 3
"""How often workers may end without having finished a single task, before the run gives up."""

_worker: Worker


class LocalWorkers:
    """Runs tasks in processes of this machine; each loads its own networks.

    A worker that is killed is replaced, and its task done again. If this process ends, its workers end.

    Args:
        plan: of the run.
        count: how many processes.
    """

    def __init__(self, plan: Plan, count: int) -> None:
        self._plan, self._count = plan, count
        self._context = multiprocessing.get_context("spawn")
        self._pool: ProcessPoolExecutor | None = None
        self._alive: Connection | None = None

    def run(self, tasks: Sequence[Task], tell: Tell, on_step: Callable[[int], None]) -> None:
        queue = Queue(tasks)
        running: dict[Future[Outcome], Task] = {}
        lost = 0
        try:
            while True:
                while len(running) < self._count and (task := queue.take()) is not None:
                    running[self._submit(task)] = task
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                try:
                    for future in done:
                        outcome = future.result()
                        del running[future]
                        lost = 0
                        queue.ended(outcome)
                        tell(outcome)
                except BrokenProcessPool as error:
                    lost += 1
                    if lost > LOST:
                        raise StoreError(
                            "The worker processes end before they finish a task: they are killed, or cannot start.",
                            "Too little memory? Use fewer --workers, or a smaller batch_size in the suite.",
                        ) from error
                    for task in running.values():
                        queue.put_back(task)
                    running.clear()
                    self._end()
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        self._end()

    def _submit(self, task: Task) -> Future[Outcome]:
        if self._pool is None:
            # Workers live as long as this end is open: until it is closed, or this process ends in whatever way.
            seen, self._alive = self._context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(
                self._count, self._context, initializer=_begin, initargs=(self._plan, seen)
            )
        try:
            return self._pool.submit(_run, task)
        except BrokenProcessPool as error:
            failed: Future[Outcome] = Future()
            failed.set_exception(error)
            return failed

    def _end(self) -> None:
        """End the workers at once: what they are at leaves nothing that counts."""
        if self._pool is not None and self._alive is not None:
            self._alive.close()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def _begin(plan: Plan, alive: Connection) -> None:
    """Prepare a worker process."""
    global _worker  # noqa: PLW0603  (one a process)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
    sys.stdout = sys.stderr  # standard output is for results
    _worker = Worker(plan)


def _end_with(alive: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        alive.recv()
    os._exit(1)


def _run(task: Task) -> Outcome:
    return _worker.run(task)
