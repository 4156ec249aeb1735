"""In which order a process does the tasks of a run, so that several processes on one run seldom do the same one."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence

from linbp.bench.plan import AnswerTask, Plan, Task

__all__ = ["own_order"]


def own_order(plan: Plan, tasks: Sequence[Task], draw: random.Random) -> list[Task]:
    """The tasks in an order of this process's own; those of one network stand together, so that it is loaded once.

    Processes know nothing of each other but the files of finished tasks. In one common order they would do the same
    task at the same time; in shuffled orders two of them meet about once for every doubling of the number of tasks.

    Args:
        plan: of the run.
        tasks: that do not depend on each other.
        draw: another one for each process.
    """
    groups: dict[Hashable, list[Task]] = {}
    for task in tasks:
        network = task.victim if isinstance(task, AnswerTask) else plan.attacks[task.attack].surrogate.name
        groups.setdefault(network, []).append(task)
    every = list(groups.values())
    first = draw.randrange(len(every)) if every else 0
    for group in every:
        draw.shuffle(group)
    return [task for group in [*every[first:], *every[:first]] for task in group]
