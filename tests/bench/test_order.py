"""Processes that work on one run without knowing of each other share it, and each loads a network once."""

from __future__ import annotations

import itertools
import random
from types import SimpleNamespace
from typing import Any

import pytest

from linbp.bench.order import own_order
from linbp.bench.plan import AnswerTask, CraftTask, Task

SURROGATES = ("first", "second", "third")
PLAN: Any = SimpleNamespace(
    attacks=[SimpleNamespace(surrogate=SimpleNamespace(name=name)) for name in SURROGATES for _ in range(5)]
)
CRAFTS = [CraftTask(attack, shard) for attack in range(15) for shard in range(8)]
ANSWERS = [AnswerTask(victim, attack, 0, False) for victim in range(4) for attack in range(15)]


@pytest.mark.parametrize("tasks", [CRAFTS, ANSWERS, []])
def test_each_task_once_and_those_of_a_network_together(tasks: list[Task]) -> None:
    orders = [own_order(PLAN, tasks, random.Random(seed)) for seed in range(3)]
    for order in orders:
        assert sorted(order, key=repr) == sorted(tasks, key=repr)
        networks = [
            task.victim if isinstance(task, AnswerTask) else PLAN.attacks[task.attack].surrogate.name for task in order
        ]
        assert len(list(itertools.groupby(networks))) == len(set(networks))
    assert not tasks or orders[0] != orders[1] != orders[2]


def test_four_processes_in_step_do_little_twice() -> None:
    def done_by_four(orders: list[list[Task]]) -> int:
        """How many tasks are computed by processes that all begin at once and take as long for each task."""
        finished: set[Task] = set()
        queues, computed = [iter(order) for order in orders], 0
        while len(finished) < len(CRAFTS):
            at_hand = [next((task for task in queue if task not in finished), None) for queue in queues]
            computed += sum(task is not None for task in at_hand)
            finished.update(task for task in at_hand if task is not None)
        return computed

    assert done_by_four([list(CRAFTS)] * 4) == 4 * len(CRAFTS)
    for seed in range(20):
        orders = [own_order(PLAN, CRAFTS, random.Random(4 * seed + process)) for process in range(4)]
        assert done_by_four(orders) < 1.25 * len(CRAFTS)
