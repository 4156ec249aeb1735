"""A table of results as arrays: which attack fooled which victim on which image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]

from linbp.errors import StoreError

__all__ = ["Attack", "Outcomes", "distinct"]

Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

FAILED, SUCCEEDED, UNKNOWN = 0, 1, -1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attack:
    """What made a set of adversarial images; the fields are the columns of a table of results of the same names."""

    surrogate: str
    recipe: str
    recipe_text: str
    norm: str
    eps: float
    eps_text: str
    steps: int
    gradients: int
    seed: int
    attack: str
    attack_key: str
    notes: str | None


WORDS = [field.name for field in dataclasses.fields(Attack)]


class Outcomes:
    """A table of results, grouped by attack.

    Args:
        table: with the columns of a run's results: one row for each image, attack and victim.

    Attributes:
        attacks: all attacks, ordered by norm, radius, surrogate, seed, recipe and gradients.
        victims: their names, in the order in which they first come up.
        images: the images' names, likewise.
        labels: (images,) their classes, as the first victim has them.
        own_labels: (victims, images) their classes, as each victim has them; -1 where the table has none.
        files: the images' files.
        white_box: (attacks, victims) whether the victim has the weights that the attack had.
        asked: (attacks, victims) whether the table has rows of both.
        shape: how many attacks, victims and images.

    Raises:
        StoreError: the table has no rows, or two rows for one image, attack and victim.
    """

    def __init__(self, table: pa.Table) -> None:
        if table.num_rows == 0:
            raise StoreError("The table of results has no rows.", "Give the results of a run that has finished a task.")
        self._table = table
        images, self.images = _codes(table["image_id"])
        victims, self.victims = _codes(table["victim"])
        attacks, firsts = _groups(table, ["surrogate", "recipe", "attack_key"])
        named = table.select(WORDS).take(pa.array(firsts)).to_pylist()
        found = [Attack(**facts) for facts in named]
        order = sorted(range(len(found)), key=lambda number: _place(found[number]))
        self.attacks = tuple(found[number] for number in order)
        ranks = np.empty(len(order), dtype=np.int64)
        ranks[order] = np.arange(len(order))
        shape = (len(self.attacks), len(self.victims), len(self.images))
        cells = np.ravel_multi_index((ranks[attacks], victims, images), shape)
        self._columns: dict[str, npt.NDArray[Any]] = {}
        self._order = np.argsort(cells, kind="stable")
        self._cells = cells[self._order]
        if twice := np.flatnonzero(np.diff(self._cells) == 0)[:1].tolist():
            attack, victim, image = (int(at) for at in np.unravel_index(self._cells[twice[0]], shape))
            raise StoreError(
                f"The table has two rows for image {self.images[image]!r}, victim {self.victims[victim]!r} and recipe "
                f"{self.attacks[attack].recipe!r} on {self.attacks[attack].surrogate!r}.",
                "Take one of them out.",
            )
        self.shape = shape
        first = _first(images, len(self.images))
        self.labels: Integers = _numbers(table, "label")[first]
        self.own_labels: Integers = np.full(shape[1:], -1, dtype=np.int64)
        # Where attacks have labels of their own, those of the first count.
        self.own_labels[victims[::-1], images[::-1]] = _numbers(table, "label")[::-1]
        self.files: list[str] = table["file"].take(pa.array(first)).to_pylist()
        self.white_box: Bools = np.zeros(shape[:2], dtype=bool)
        self.white_box[ranks[attacks], victims] = _numbers(table, "white_box").astype(bool)
        self.asked: Bools = np.zeros(shape[:2], dtype=bool)
        self.asked[ranks[attacks], victims] = True
        counted = _numbers(table, "selected").astype(bool) & ~np.asarray(table["success"].is_null())
        success = np.asarray(table["success"].fill_null(False)).astype(bool)
        answers = np.where(counted, success.astype(np.int8), np.int8(UNKNOWN))
        self._answers = answers[self._order]
        self._starts = np.searchsorted(self._cells, np.arange(shape[0] + 1) * shape[1] * shape[2])

    def answers(self, attack: int) -> npt.NDArray[np.int8]:
        """(victims, images): 1 for a success, 0 for none, -1 where nothing is counted, of one of `attacks`."""
        rows = slice(self._starts[attack], self._starts[attack + 1])
        found = np.full(self.shape[1] * self.shape[2], UNKNOWN, dtype=np.int8)
        found[self._cells[rows] - attack * found.size] = self._answers[rows]
        return found.reshape(self.shape[1:])

    def transferred(self, attack: int) -> npt.NDArray[np.int8]:
        """`answers` of the victims that are no white box for the attack, and that answered on at least one image."""
        found = self.answers(attack)
        shown: npt.NDArray[np.int8] = found[~self.white_box[attack] & (found != UNKNOWN).any(axis=1)]
        return shown

    def column(self, name: str, attack: int, victim: int) -> npt.NDArray[Any]:
        """One column of numbers for one attack and victim, by image; -1 where the table has no row."""
        cells = (attack * self.shape[1] + victim) * self.shape[2]
        at = slice(*np.searchsorted(self._cells, [cells, cells + self.shape[2]]))
        values = self._column(name)[at]
        found = np.full(self.shape[2], -1, dtype=values.dtype)
        found[self._cells[at] - cells] = values
        return found

    def by_attack(self, name: str) -> npt.NDArray[np.float64]:
        """(attacks, 2) the mean and the largest value of a column that is the same for every victim."""
        per_image = self.shape[1] * self.shape[2]
        pairs = self._cells // per_image * self.shape[2] + self._cells % self.shape[2]
        _, first = np.unique(pairs, return_index=True)
        attack, values = self._cells[first] // per_image, self._column(name)[first].astype(np.float64)
        most = np.full(self.shape[0], -np.inf)
        np.maximum.at(most, attack, values)
        return np.stack([np.bincount(attack, values) / np.bincount(attack), most], axis=1)

    @cached_property
    def clean(self) -> Integers:
        """(victims, images) the victims' predictions of the clean images; -1 where the table has none."""
        found = np.full(self.shape[1] * self.shape[2], -1, dtype=np.int64)
        found[self._cells % found.size] = self._column("clean_prediction")
        return found.reshape(self.shape[1:])

    def _column(self, name: str) -> npt.NDArray[Any]:
        """A column of numbers, ordered by cell; kept, because it is asked for once for each attack and victim."""
        if name not in self._columns:
            self._columns[name] = _numbers(self._table, name)[self._order]
        return self._columns[name]


def _place(attack: Attack) -> tuple[Any, ...]:
    return attack.norm, attack.eps, attack.surrogate, attack.seed, attack.recipe, attack.gradients, attack.attack_key


def _numbers(table: pa.Table, name: str) -> npt.NDArray[Any]:
    found: npt.NDArray[Any] = np.asarray(table[name])
    return found


def _codes(column: pa.ChunkedArray) -> tuple[Integers, list[str]]:
    """A number for each row, and what the numbers stand for."""
    words = column.cast(pa.string()).combine_chunks().dictionary_encode()
    return np.asarray(words.indices).astype(np.int64), words.dictionary.to_pylist()


def distinct(table: pa.Table, names: Sequence[str]) -> list[dict[str, Any]]:
    """The different rows of some columns of a table, in the order in which they first come up."""
    _, first = _groups(table, names)
    found: list[dict[str, Any]] = table.select(list(names)).take(pa.array(np.sort(first))).to_pylist()
    return found


def _groups(table: pa.Table, names: Sequence[str]) -> tuple[Integers, Integers]:
    """A number for each row by what stands in some columns, and the first row of each number."""
    codes = np.zeros(table.num_rows, dtype=np.int64)
    for name in names:
        numbers, words = _codes(table[name])
        codes = np.unique(codes * len(words) + numbers, return_inverse=True)[1]
    return codes, _first(codes, int(codes.max()) + 1)


def _first(codes: Integers, count: int) -> Integers:
    """The first row of each of the numbers from 0."""
    first = np.empty(count, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return first
