"""The loop alone, with a trainer that only counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from linbp.errors import StoreError
from linbp.training.loop import Loop

PER_EPOCH, EPOCHS = 4, 3


class Counter:
    """Adds up the numbers of its batches."""

    def __init__(self) -> None:
        self.sum = 0
        self.done: list[tuple[int, int]] = []

    def batches(self, epoch: int, first: int) -> Iterator[tuple[int, int]]:
        return ((epoch, number) for number in range(first, PER_EPOCH))

    def step(self, batch: tuple[int, int], loop: Loop) -> None:
        assert loop.step == batch[0] * PER_EPOCH + batch[1]
        self.done.append(batch)
        self.sum += loop.step

    def end_epoch(self, loop: Loop) -> dict[str, Any]:
        entry = {"sum": self.sum, "at": loop.step}
        self.sum = 0
        return entry

    def describe(self, entry: Mapping[str, Any] | None) -> str:
        return f"sum {self.sum}" if entry is None else f"ended with {entry['sum']}"

    def state(self) -> dict[str, Any]:
        return {"sum": self.sum}

    def load(self, state: Mapping[str, Any]) -> None:
        self.sum = state["sum"]


def made(**options: Any) -> tuple[Counter, Loop]:
    trainer = Counter()
    return trainer, Loop(trainer, epochs=EPOCHS, steps_per_epoch=PER_EPOCH, stage="counting", **options)


WHOLE = [{"epoch": 1, "sum": 6, "at": 4}, {"epoch": 2, "sum": 22, "at": 8}, {"epoch": 3, "sum": 38, "at": 12}]


def test_every_batch_once_and_an_entry_an_epoch() -> None:
    told: list[tuple[str, int, int, str]] = []
    trainer, loop = made(progress=lambda *words: told.append(words))
    loop.run()
    assert trainer.done == [(epoch, number) for epoch in range(EPOCHS) for number in range(PER_EPOCH)]
    assert loop.history == WHOLE
    assert told[0] == ("counting", 0, 12, "sum 0")
    assert told[1:6] == [
        ("counting", 1, 12, "sum 0"),
        ("counting", 2, 12, "sum 1"),
        ("counting", 3, 12, "sum 3"),
        ("counting", 4, 12, "sum 6"),
        ("counting", 4, 12, "ended with 6"),
    ]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, [4, 8, 12]),
        ({"every_steps": 3}, [3, 4, 6, 8, 9, 12]),
        ({"every_steps": 1}, list(range(1, 13))),
        ({"every_minutes": 0}, list(range(1, 13))),
        ({"every_minutes": 60}, [4, 8, 12]),
    ],
)
def test_when_checkpoints_are_due(options: dict[str, Any], wanted: list[int]) -> None:
    saved: list[int] = []
    _, loop = made()
    loop.run(lambda: saved.append(loop.step), **options)
    assert saved == wanted


@pytest.mark.parametrize("step", range(1, EPOCHS * PER_EPOCH + 1))
def test_a_run_that_goes_on_does_what_is_left(step: int) -> None:
    kept: dict[str, Any] = {}

    class Killed(Exception):
        pass

    def kill(loop: Loop) -> None:
        if loop.step == step:
            raise Killed

    _, first = made(on_step=[kill])
    with pytest.raises(Killed):
        first.run(lambda: kept.update({**first.state(), "history": list(first.history)}), every_steps=1)
    trainer, second = made()
    if kept:
        second.load(kept)
        assert second.seconds >= kept["seconds"]
    assert second.step == step - 1
    second.run()
    assert second.history == WHOLE
    assert len(trainer.done) == EPOCHS * PER_EPOCH - (step - 1)


def test_hooks_come_after_their_step() -> None:
    steps: list[tuple[int, int]] = []
    _, loop = made(on_step=[lambda loop: steps.append((loop.step, loop.trainer.state()["sum"]))])
    loop.run()
    assert [step for step, _ in steps] == list(range(1, 13))
    assert steps[:4] == [(1, 0), (2, 1), (3, 3), (4, 6)]


def test_a_state_of_something_else_is_refused() -> None:
    _, loop = made()
    for state in ({}, {"trainer": {}}, {"trainer": {"sum": 0}, "step": "three", "history": [], "seconds": 0}):
        with pytest.raises(StoreError, match="does not fit"):
            loop.load(state)
