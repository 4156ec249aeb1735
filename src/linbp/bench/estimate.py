"""What a run would take: tasks, gradients, time from a short measurement, and disk."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from linbp.attack.job.batch import craft_batch
from linbp.attack.job.images import read_pool
from linbp.attack.recipe.recipe import Recipe
from linbp.bench.make_plan import make_plan
from linbp.bench.networks import Network, Networks
from linbp.bench.plan import Plan, PlannedAttack
from linbp.bench.run import check_same_suite, torch_threads
from linbp.bench.space import bytes_of, check_space
from linbp.bench.store import open_store
from linbp.bench.suite import Suite, suite_of
from linbp.data.images import Pixels
from linbp.errors import LinbpError, SuiteError
from linbp.evaluation.predict import predict
from linbp.graph.kernels.groups import GROUP
from linbp.jobs.progress import ProgressCallback
from linbp.jobs.tf32 import tf32
from linbp.models import Classifier
from linbp.models.queries import asked_afresh, queries_left, queries_of
from linbp.models.scores import Preprocess

__all__ = ["Estimate", "PlannedLine", "estimate", "in_words"]

STEPS = 2
"""Steps of an attack that are measured, after as many that are not."""
MANY = 5
"""Gradients of a step from which on one group of images is measured, and no step before: a longer measurement would
tell no more, and one of forty recipes at such a cost would take a quarter of an hour."""


@dataclasses.dataclass(frozen=True)
class PlannedLine:
    """One attack of a plan: its names, its steps, and its gradients per image."""

    surrogate: str
    recipe: str
    eps: str
    steps: int
    gradients: int


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a run would take.

    Attributes:
        suite: its name.
        images: how many.
        attacks: every surrogate, recipe and radius.
        victims: their names.
        tasks: shards to craft, and shards to ask about.
        done: how many of them an earlier run has done.
        gradients: that are left, over all images.
        questions: predictions of victims that are left.
        seconds: that one worker takes for what is left.
        asking: of these, those in which victims answer.
        disk: bytes that the run takes in the end.
        measured_on: how many images the time was measured on.
    """

    suite: str
    images: int
    attacks: tuple[PlannedLine, ...]
    victims: tuple[str, ...]
    tasks: int
    done: int
    gradients: int
    questions: int
    seconds: float
    asking: float
    disk: int
    measured_on: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


def estimate(
    suite: str | os.PathLike[str] | Suite,
    out: str | os.PathLike[str] | None = None,
    *,
    data: str | os.PathLike[str] | None = None,
    first: int | None = None,
    device: str | None = None,
    models: Mapping[str, Classifier] | None = None,
    progress: ProgressCallback | None = None,
) -> Estimate:
    """Plan a run and measure its networks for a few seconds. Nothing is written.

    Args:
        suite: as for `run_bench`.
        out: an earlier run, whose finished tasks are left out; or None.
        data, first: as for `run_bench`.
        device: where networks run.
        models: networks by the names that the suite calls them, instead of loading them.
        progress: told how far it is.

    Raises:
        SuiteError, LinbpError: everything that is wrong with the suite.
    """
    tell = progress or (lambda stage, done, total: None)
    given, base = suite_of(suite, data, first)
    store = None if out is None else open_store(out)
    if store is not None:
        check_same_suite(store, given)
    networks = Networks(device, models)
    with torch_threads(given.threads if device in (None, "cpu") else None), tf32(given.tf32):
        plan = make_plan(given, base, None, networks, device=device or "cpu", tell=tell)
        crafts = plan.craft_tasks()
        asks = plan.answer_tasks()
        there = set() if store is None else store.names("answers")
        if store is not None:
            there = there.union(*(store.names(f"{attack.folder}/shards") for attack in plan.attacks))
        left = [task for task in crafts if plan.marker(task.attack, task.shard) not in there]
        unanswered = [task for task in asks if plan.answers(task) not in there]
        if store is not None:
            check_space(store, bytes_of(plan, left, unanswered))
        per_attack = _measure_attacks(plan, networks, sorted({task.attack for task in left}), tell)
        per_victim = _measure_victims(plan, networks, sorted({task.victim for task in unanswered}), tell)
    size = {shard: len(rows) for shard, rows in enumerate(plan.shards)}
    images = len(plan.images.records)
    asking = sum(size[task.shard] * per_victim[task.victim] for task in unanswered)
    return Estimate(
        suite=plan.suite.name,
        images=images,
        attacks=tuple(_line(attack) for attack in plan.attacks),
        victims=tuple(one.victim.name for one in plan.victims),
        tasks=len(crafts) + len(asks),
        done=len(crafts) + len(asks) - len(left) - len(unanswered),
        gradients=sum(size[task.shard] * plan.attacks[task.attack].gradients for task in left),
        questions=sum(size[task.shard] for task in unanswered),
        seconds=sum(size[task.shard] * per_attack[task.attack] for task in left) + asking,
        asking=asking,
        disk=bytes_of(plan, crafts, asks, clean=True),
        measured_on=len(plan.images.sample),
    )


def in_words(seconds: float) -> str:
    """A duration in the unit that a person would use."""
    for name, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {name}s"
    return f"{max(1, round(seconds))} second{'s' if round(seconds) > 1 else ''}"


def _line(attack: PlannedAttack) -> PlannedLine:
    config = attack.config
    steps = config.recipe.all_steps(config.steps)
    return PlannedLine(attack.surrogate.name, attack.recipe.name, attack.eps_text, steps, attack.gradients)


def _measure_attacks(plan: Plan, networks: Networks, attacks: list[int], tell: ProgressCallback) -> dict[int, float]:
    """Seconds of each attack for an image."""
    found: dict[int, float] = {}
    per_step: dict[tuple[str, str], float] = {}
    faults: list[LinbpError] = []
    for done, number in enumerate(attacks):
        tell("measuring attacks", done, len(attacks))
        attack = plan.attacks[number]
        place = attack.surrogate.name, attack.recipe.name
        if place not in per_step:
            try:
                per_step[place] = _seconds_a_step(plan, networks, attack)
            except LinbpError as fault:
                where = f"Recipe {attack.recipe.name} on {attack.surrogate.name}: "
                faults.append(type(fault)(where + fault.message, fault.hint))
                per_step[place] = 0
        found[number] = per_step[place] * attack.config.recipe.all_steps(attack.config.steps)
    if faults:
        raise SuiteError.of(faults)
    return found


def _short(recipe: Recipe) -> Recipe:
    """The recipe with few steps also in stages that have their own number, such as `ila(steps=100)`."""

    def few(objective: Any) -> Any:
        many = (getattr(objective, "steps", None) or 0) > STEPS
        return dataclasses.replace(objective, steps=STEPS) if many else objective

    return Recipe(stages=tuple(dataclasses.replace(one, objective=few(one.objective)) for one in recipe.stages))


def _seconds_a_step(plan: Plan, networks: Networks, attack: PlannedAttack) -> float:
    recipe = _short(attack.config.recipe)
    prepared = networks.prepared(attack.surrogate, recipe)
    many = attack.gradients >= MANY * attack.config.recipe.all_steps(attack.config.steps)
    images = min(attack.config.batch_size, GROUP) if many else attack.config.batch_size
    records = list(plan.images.records[:images])
    clean = _same_size(plan, attack)[:images]
    pool = read_pool(plan.pool, attack.preparation, 1, lambda *_: None) if attack.needs_pool else None
    config = dataclasses.replace(attack.config.shortened(STEPS), recipe=recipe)

    def run() -> None:
        craft_batch(prepared, config, records[: len(clean)], clean, pool, lambda: None)

    return _timed(run, first=not many) / len(clean) / config.recipe.all_steps(config.steps)


def _measure_victims(plan: Plan, networks: Networks, victims: list[int], tell: ProgressCallback) -> dict[int, float]:
    """Seconds of each victim for an image."""
    found = {}
    for done, number in enumerate(victims):
        tell("measuring victims", done, len(victims))
        victim, attack = plan.victims[number], plan.attacks[0]
        network = networks.network(victim.victim.model)
        clean = _same_size(plan, attack)[: plan.suite.victim_batch_size]
        preprocess = victim.preprocessing[attack.surrogate.name].apply
        found[number] = _seconds_an_image(network, clean, preprocess)
    return found


def _seconds_an_image(network: Network, clean: Pixels, preprocess: Preprocess) -> float:
    """Seconds of a victim for an image; one that keeps its answers is not timed on these."""
    before = queries_of(network)
    if before is None:
        return _timed(lambda: predict(network, [clean], preprocess=preprocess)) / len(clean)
    started = time.perf_counter()
    predict(network, [clean], preprocess=preprocess)
    now = queries_of(network)
    if now is not None and (sent := now.since(before).images):
        return (time.perf_counter() - started) / sent
    if queries_left(network) == 0:
        return 0.0
    with asked_afresh(network):
        started = time.perf_counter()
        predict(network, [clean[:1]], preprocess=preprocess)
        return time.perf_counter() - started


def _same_size(plan: Plan, attack: PlannedAttack) -> Pixels:
    """The sampled images that have the first one's size, prepared."""
    prepare = attack.preparation
    every = [pixels if prepare is None else prepare.apply(pixels) for pixels in plan.images.sample]
    return np.stack([pixels for pixels in every if pixels.shape == every[0].shape])


def _timed(run: Callable[[], object], first: bool = True) -> float:
    """Seconds of a call, after a first one, which allocates, where it is worth one."""
    if first:
        run()
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
