"""From the files of a run to its table of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]

from linbp.bench.answers import Answers
from linbp.bench.plan import AnswerTask, CraftTask, Plan, PlannedAttack, Task
from linbp.bench.shards import read_shard
from linbp.bench.store import Store
from linbp.bench.table import SCHEMA
from linbp.data.labels import check_labels
from linbp.data.predictions import ABSTAINED
from linbp.errors import ModelError
from linbp.evaluation.predict import check_victim_not_shifted

__all__ = ["Collected", "collect"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass
class Collected:
    """What a run's files hold.

    Attributes:
        table: with the columns of `SCHEMA`: of an unfinished run, the attacks and victims that are whole.
        missing: tasks whose files are not there, or not whole, or belong to something else.
        broken: names of such files.
    """

    table: pa.Table
    missing: list[Task]
    broken: list[str]


@dataclass
class _Records:
    """The records of an attack, in the order of the images."""

    columns: dict[str, Ints]
    l2: npt.NDArray[np.float64]
    targets: Ints | None
    sha256: list[list[str]]


class _Reader:
    """Reads the files of a plan, and notes those that are missing or broken."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self.plan, self.store = plan, store
        self.missing: list[Task] = []
        self.broken: list[str] = []
        self.classes: dict[int, int] = {}
        self._asked: dict[str, Answers | None] = {}

    def records(self, attack: int) -> _Records | None:
        """The records of an attack; None if it is not whole."""
        found: list[dict[str, Any]] = []
        hashes, whole = [], True
        for shard in range(len(self.plan.shards)):
            name = self.plan.marker(attack, shard)
            content = self.store.read(name)
            records = read_shard(content, self.plan.shard_key(attack, shard))
            if records is None:
                whole = False
                self._note(CraftTask(attack, shard), name if content is not None else None)
            else:
                found += records
                hashes.append([str(record["sha256"]) for record in records])
        if not whole:
            return None
        whole_numbers = ("label", "prediction_clean", "prediction_adv", "linf")
        columns = {name: np.array([record[name] for record in found], np.int64) for name in whole_numbers}
        l2 = np.array([record["l2"] for record in found], np.float64)
        aimed = [record["target"] for record in found]
        targets = None if None in aimed else np.array(aimed, np.int64)
        return _Records(columns, l2, targets, hashes)

    def predictions(self, victim: int, attack: int, clean: bool, hashes: Sequence[Sequence[str]]) -> Ints | None:
        """A victim's answers to the images of an attack; None if they are not whole."""
        parts = [self._answers(AnswerTask(victim, attack, shard, clean), asked) for shard, asked in enumerate(hashes)]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            return None
        self._check_classes(victim, found)
        return np.concatenate([part.predictions for part in found])

    def _answers(self, task: AnswerTask, asked: Sequence[str]) -> Answers | None:
        name = self.plan.answers(task)
        if name not in self._asked:
            content = self.store.read(name)
            answers = Answers.read(content, name, asked)
            if answers is None:
                self._note(task, name if content is not None else None)
            if not task.clean:
                return answers
            self._asked[name] = answers
        return self._asked[name]

    def _note(self, task: Task, broken: str | None) -> None:
        self.missing.append(task)
        if broken is not None:
            self.broken.append(broken)

    def _check_classes(self, victim: int, answers: Sequence[Answers]) -> None:
        name = self.plan.victims[victim].victim.name
        counts = {part.classes for part in answers}
        if len(counts) > 1:
            raise ModelError(f"{name} answers with {' and with '.join(map(str, sorted(counts)))} classes.", "Fix it.")
        self.classes[victim] = counts.pop()
        planned = self.plan.victims[victim]
        records = self.plan.images.records
        labels = planned.labels or [record.label for record in records]
        pairs = [(record.image_id, label) for record, label in zip(records, labels, strict=True) if label is not None]
        if not planned.by_itself:
            check_labels([one for one, _ in pairs], [label for _, label in pairs], self.classes[victim], network=name)


def collect(plan: Plan, store: Store, notes: Mapping[str, str | None], *, check: bool = True) -> Collected:
    """The table of a run, from its files.

    Args:
        plan: of the run.
        store: where it lies.
        notes: of each attack, by its name.
        check: suspect victims whose answers are the labels' neighbours.

    Raises:
        ModelError: a victim's classes are not, or seem not to be, those of the labels.
    """
    reader = _Reader(plan, store)
    parts = []
    for number, attack in enumerate(plan.attacks):
        records = reader.records(number)
        clean_hashes = _in_shards(plan, plan.images.hashes[attack.view])
        before = [reader.predictions(v, number, True, clean_hashes) for v in range(len(plan.victims))]
        if records is None:
            continue
        after = [reader.predictions(v, number, False, records.sha256) for v in range(len(plan.victims))]
        if check:
            _check_shift(plan, reader.classes, records, before, attack.config.labels == "predicted")
        labels = [_labels(plan, victim, records, clean) for victim, clean in enumerate(before)]
        selected = _selected(plan, records, before, labels)
        for victim, (clean, adv, own) in enumerate(zip(before, after, labels, strict=True)):
            if clean is not None and adv is not None and own is not None and selected is not None:
                parts.append(_part(plan, attack, victim, records, own, clean, adv, selected, notes.get(attack.name)))
    return Collected(_table(plan, parts), reader.missing, reader.broken)


def _in_shards(plan: Plan, values: Sequence[str]) -> list[Sequence[str]]:
    return [values[rows.start : rows.stop] for rows in plan.shards]


def _labels(plan: Plan, number: int, records: _Records, clean: Ints | None) -> Ints | None:
    """What a victim is scored by: its own labels, or those that the images were crafted with."""
    victim = plan.victims[number]
    if victim.by_itself:
        return None if clean is None else np.where(clean == ABSTAINED, -1, clean)
    return records.columns["label"] if victim.labels is None else np.array(victim.labels, np.int64)


def _check_shift(
    plan: Plan, classes: Mapping[int, int], records: _Records, before: Sequence[Ints | None], predicted: bool
) -> None:
    if plan.suite.trust_labels:
        return
    for number, clean in enumerate(before):
        victim = plan.victims[number]
        labels = _labels(plan, number, records, clean)
        if clean is None or labels is None or victim.by_itself or (victim.labels is None and predicted):
            continue
        check_victim_not_shifted(victim.victim.name, labels.tolist(), clean.tolist(), classes[number])


def _selected(plan: Plan, records: _Records, before: Sequence[Ints | None], own: Sequence[Ints | None]) -> Bools | None:
    """Which images count; None if that is not known yet."""
    labels = records.columns["label"]
    if plan.selection == "none":
        return np.ones(len(labels), bool)
    if plan.selection == "right-on-surrogate":
        right: Bools = records.columns["prediction_clean"] == labels
        return right
    every = np.ones(len(labels), bool)
    for clean, victims_own in zip(before, own, strict=True):
        if clean is None or victims_own is None:
            return None
        every &= clean == victims_own
    return every


@dataclass
class _Part:
    """The rows of one attack and one victim."""

    numbers: dict[str, Any]
    words: dict[str, str | None]


def _part(
    plan: Plan,
    attack: PlannedAttack,
    number: int,
    records: _Records,
    labels: Ints,
    clean: Ints,
    adv: Ints,
    selected: Bools,
    notes: str | None,
) -> _Part:
    victim, config = plan.victims[number], attack.config
    (eps,), (step_size,) = config.eps, config.step_sizes[-1]
    counted: Bools = clean == labels
    success: Bools = (adv != labels) & (adv != ABSTAINED)
    if records.targets is not None:
        counted = counted & (records.targets != labels)
        success = adv == records.targets
    same: dict[str, Any] = {
        "eps": eps,
        "steps": config.steps,
        "step_size": step_size,
        "gradients": attack.gradients,
        "seed": config.seed,
        "white_box": attack.surrogate.name in victim.white_box,
    }
    numbers = {
        "label": labels,
        "target": records.targets,
        "surrogate_clean": records.columns["prediction_clean"],
        "surrogate_adv": records.columns["prediction_adv"],
        "clean_prediction": clean,
        "adv_prediction": adv,
        "selected": selected,
        "success": pa.array(success, mask=~counted),
        "linf": records.columns["linf"],
        "l2": records.l2,
        **{name: np.full(len(labels), value) for name, value in same.items()},
    }
    names, rules = zip(*(_split(text) for text in attack.surrogate.models), strict=True)
    words = {
        "surrogate": attack.surrogate.name,
        "surrogate_model": " + ".join(names),
        "surrogate_key": _identity_key(attack),
        "rule": " / ".join(dict.fromkeys(rule for rule in rules if rule)),
        "recipe": attack.recipe.name,
        "recipe_text": attack.recipe.recipe,
        "attack": attack.name,
        "attack_key": attack.key[:16],
        "protocol": None if config.protocol is None else config.protocol.name,
        "norm": config.norm,
        "eps_text": attack.eps_text,
        "victim": victim.victim.name,
        "victim_model": victim.victim.model,
        "victim_key": plan.victim_key(number, attack)[:16],
        "preprocessing": victim.preprocessing[attack.surrogate.name].description,
        "notes": notes,
    }
    return _Part(numbers, words)


def _split(text: str) -> tuple[str, str]:
    from linbp.attack.named_surrogates import split_rules

    name, rules = split_rules(text)
    return name, text[len(name) :].strip().removeprefix("with").strip() if rules else ""


def _identity_key(attack: PlannedAttack) -> str:
    from linbp.bench.keys import content_key

    return content_key(attack.settings["surrogate"])[:16]


def _table(plan: Plan, parts: Sequence[_Part]) -> pa.Table:
    """All parts, one after the other; text that rows share is stored once."""
    count = len(plan.images.records)
    shared = {
        "image_id": list(plan.images.ids),
        "file": [
            str(record.path if plan.images.own_files is False else record.path.resolve())
            for record in plan.images.records
        ],
    }
    columns: list[pa.Array] = []
    for field in SCHEMA:
        if field.name in shared:
            values, index = shared[field.name], np.tile(np.arange(count), len(parts))
            columns.append(_words(values, index))
        elif parts and field.name in parts[0].words:
            texts = [part.words[field.name] for part in parts]
            values = sorted({text for text in texts if text is not None})
            places = [None if text is None else values.index(text) for text in texts]
            mask = np.repeat([place is None for place in places], count)
            columns.append(_words(values, np.repeat([place or 0 for place in places], count), mask))
        else:
            chunks = [_numbers(part.numbers[field.name], field.type, count) for part in parts]
            columns.append(
                pa.chunked_array(chunks, field.type).combine_chunks() if chunks else pa.array([], field.type)
            )
    return pa.table(columns, schema=SCHEMA)


def _numbers(values: Any, kind: pa.DataType, count: int) -> pa.Array:
    if values is None:
        return pa.nulls(count, kind)
    return values.cast(kind) if isinstance(values, pa.Array) else pa.array(values, kind)


def _words(values: Sequence[str], index: npt.NDArray[Any], mask: Bools | None = None) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(index, pa.int32(), mask=mask), pa.array(list(values), pa.string()))
