"""Tasks that wait: a fault drops those of the same attack or victim, and a full disk all of them."""

from __future__ import annotations

from linbp.bench.executors.base import Queue
from linbp.bench.plan import AnswerTask, CraftTask
from linbp.bench.tasks import Outcome

CRAFTS = [CraftTask(attack, shard) for attack in range(2) for shard in range(3)]


def rest(queue: Queue) -> list[object]:
    found = []
    while (task := queue.take()) is not None:
        found.append(task)
    return found


def test_tasks_come_in_their_order_and_one_whose_process_ended_comes_again() -> None:
    queue = Queue(CRAFTS)
    first = queue.take()
    assert first == CRAFTS[0]
    queue.put_back(first)
    assert len(queue) == 6
    assert rest(queue) == CRAFTS


def test_a_fault_drops_its_attack_and_no_other() -> None:
    queue = Queue(CRAFTS)
    task = queue.take()
    assert task is not None
    queue.ended(Outcome(task, "failed", ("ModelError", "NaN", "")))
    assert len(queue) == 3
    assert rest(queue) == CRAFTS[3:]


def test_a_fault_of_a_victim_drops_its_questions_about_every_attack() -> None:
    tasks = [AnswerTask(victim, attack, 0, False) for victim in range(2) for attack in range(3)]
    queue = Queue(tasks)
    queue.ended(Outcome(tasks[0], "failed", ("ModelError", "gone", "")))
    assert rest(queue) == tasks[3:]


def test_a_full_disk_and_a_crash_stop_everything() -> None:
    for outcome in (Outcome(CRAFTS[0], "failed", ("StoreError", "full", "")), Outcome(CRAFTS[0], "crashed")):
        queue = Queue(CRAFTS)
        queue.ended(outcome)
        assert len(queue) == 0
        assert rest(queue) == []
