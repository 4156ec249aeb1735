"""What every executor does: it runs tasks that do not depend on each other, and tells how each ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from linbp.bench.plan import AnswerTask, Task
from linbp.bench.tasks import Outcome

__all__ = ["Executor", "Queue", "Tell"]

Tell = Callable[[Outcome], None]


class Executor(Protocol):
    """Runs tasks; a task runs to its end, or leaves nothing that counts."""

    def run(self, tasks: Sequence[Task], tell: Tell, on_step: Callable[[int], None]) -> None:
        """Run some tasks, in any order.

        Args:
            tasks: they do not depend on each other.
            tell: told how each ended, in this process.
            on_step: told about steps of attacks, by executors that know of them.
        """
        ...

    def close(self) -> None:
        """Let go of processes and networks."""
        ...


class Queue:
    """Tasks that wait. After a fault, those of the same attack or victim are dropped, and no others.

    Args:
        tasks: in their order; those of one network stand together, so that each is loaded once.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._waiting = list(reversed(tasks))
        self._dropped: set[tuple[str, int]] = set()
        self._stopped = False

    def take(self) -> Task | None:
        """The next task; None if there is none."""
        while self._waiting and not self._stopped:
            task = self._waiting.pop()
            if _group(task) not in self._dropped:
                return task
        return None

    def __len__(self) -> int:
        """How many wait."""
        return 0 if self._stopped else sum(_group(task) not in self._dropped for task in self._waiting)

    def put_back(self, task: Task) -> None:
        """A task whose process ended before it did."""
        self._waiting.append(task)

    def ended(self, outcome: Outcome) -> None:
        """What a task's end means for those that wait: a full disk and a crash stop everything."""
        if outcome.state == "failed":
            self._dropped.add(_group(outcome.task))
        if outcome.state == "crashed" or outcome.error[0] == "StoreError":
            self._stopped = True


def _group(task: Task) -> tuple[str, int]:
    return ("victim", task.victim) if isinstance(task, AnswerTask) else ("attack", task.attack)
