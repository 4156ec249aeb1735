"""Tasks in this process, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from linbp.bench.executors.base import Queue, Tell
from linbp.bench.networks import Networks
from linbp.bench.plan import Plan, Task
from linbp.bench.store import Store
from linbp.bench.tasks import Worker

__all__ = ["Here"]


class Here:
    """Runs tasks in this process.

    Args:
        plan: of the run.
        networks: that were loaded for the plan.
        store: of the run.
    """

    def __init__(self, plan: Plan, networks: Networks, store: Store) -> None:
        self._worker = Worker(plan, networks, store)

    def run(self, tasks: Sequence[Task], tell: Tell, on_step: Callable[[int], None]) -> None:
        queue = Queue(tasks)
        while (task := queue.take()) is not None:
            outcome = self._worker.run(task, on_step)
            queue.ended(outcome)
            tell(outcome)

    def close(self) -> None:
        """The networks belong to the caller."""
