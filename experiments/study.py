"""A study's table of results, and the figures that are computed from it: rates, means over victims, differences.

A table that a page links is a CSV. Its first columns say which attack a row is about; the others are what is computed
here, so that the file is at once the list of what is shown and what came out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from linbp.data.files import write_atomically
from linbp.evaluation.statistics import (
    Interval,
    Outcomes,
    Rate,
    difference_by_image,
    holm,
    mean_over_victims,
    paired_test,
    rate,
)

RESULTS = Path(__file__).parent / "results"
TABLES = Path(__file__).parents[1] / "docs" / "tables"
KEYS = ("table", "surrogate", "recipe", "eps", "steps")
"""Columns that say which attack a row is about; `table` is the table of the page that it belongs to. `images`, where
there is such a column, says which of the study's images count, such as 24:39 40:300 (default: those that all attacks
of the table were made of), and `without` which networks do not count as victims."""
AGAINST = ("against_surrogate", "against", "against_steps")
"""More of them in a table of comparisons: the other attack, at the same radius; without `against_steps` of as many
steps."""
FLIPS = {
    **{"cifar10": 9_999, "cifar10-wide": 9_999, "photographs": 99_999, "causes": 99_999, "refined": 9_999},
    **{path.stem: 99_999 for path in sorted(RESULTS.glob("equal-cost-*.parquet"))},
}
"""How many random signs p of the permutation test comes from."""

Row = dict[str, str]
Key = tuple[str, str, str, str]
"""Surrogate, recipe, radius as text, steps as text."""
Found = npt.NDArray[np.int8]
"""(victims, images): 1 for a success, 0 for none, -1 where nothing counts."""


class Answers(NamedTuple):
    """What one attack did to the images that all attacks of its table were made of.

    Attributes:
        gradients: per image.
        found: of the victims; a clean image that one has wrong does not count.
        victims: their names.
        itself: the rate of each network that was attacked, over the images that it has right; a variant of a network
            that is no victim under its own name need not have the images right, and all of them count.
        rise: by how many nats the victims' mean cross-entropy rose, mean over victims; NaN where that was not kept.
        levels: mean absolute change of a pixel's channel, in levels; NaN where that was not kept.
    """

    gradients: int
    found: Found
    victims: tuple[str, ...]
    itself: dict[str, Rate]
    rise: float
    levels: float


def share(found: npt.NDArray[Any]) -> Rate:
    """Of successes among what counts, of one victim's answers or of plain truths."""
    return rate(int((found == 1).sum()), int((found >= 0).sum()))


def mean(found: Found) -> Interval:
    """Mean over the victims that count, in per cent, with a bootstrap over images."""
    shown = found[(found >= 0).any(axis=1)]
    return mean_over_victims(shown == 1, shown >= 0, unit=100)


def gaps(one: Found, other: Found) -> npt.NDArray[np.float64]:
    """For each image its part of the difference between two attacks' means over victims."""
    return difference_by_image(one == 1, other == 1, (one >= 0) & (other >= 0))


class Study:
    """A table of results in `results/`, with the columns of `linbp.bench.table`, or as many as are known, and more."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._file = RESULTS / f"{name}.parquet"
        not_read = ("pixels", "device", "torch", "linbp", "step_size")
        self._columns = [one for one in pq.read_schema(self._file).names if one not in not_read]

    def answers(self, keys: Iterable[Key], row: Row | None = None) -> dict[Key, Answers]:
        """What some attacks on one surrogate and its variants did, on the images that all of them were made of.

        A row of a table says in `images` and `without` what counts there; by default everything does.
        """
        wanted, row = list(dict.fromkeys(keys)), row or {}
        if missing := [key for key in wanted if key not in self.attacks]:
            raise KeyError(f"{self._file.name} has no attack {missing[0]}")
        named = [
            ("surrogate", "in", sorted({key[0] for key in wanted})),  # tells which parts of the file need not be read
            ("attack_key", "in", [self.attacks[key] for key in wanted]),
        ]
        outcomes = Outcomes(pq.read_table(self._file, columns=self._columns, filters=named))
        numbers: dict[Key, int] = {
            (one.surrogate, one.recipe, one.eps_text, str(one.steps)): number
            for number, one in enumerate(outcomes.attacks)
        }
        all_of_them = np.arange(len(outcomes.images))
        ranges = [slice(*map(int, text.split(":"))) for text in row.get("images", "").split()] or [slice(None)]
        places = np.concatenate([all_of_them[one] for one in ranges])
        for key in wanted:
            places = places[outcomes.column("adv_prediction", numbers[key], 0)[places] >= 0]
        without = row.get("without", "").split()
        return {key: _answers(outcomes, numbers[key], places, without, self._columns) for key in wanted}

    @cached_property
    def attacks(self) -> dict[Key, str]:
        """The content address of each attack."""
        names = ["surrogate", "recipe", "eps_text", "steps", "attack_key"]
        rows = pq.read_table(self._file, columns=names).unify_dictionaries().group_by(names).aggregate([]).to_pylist()
        return {(*(str(row[name]) for name in names[:-1]),): row["attack_key"] for row in rows}


def _answers(
    outcomes: Outcomes, number: int, images: npt.NDArray[np.int64], without: Sequence[str], columns: Sequence[str]
) -> Answers:
    found, white_box = outcomes.answers(number)[:, images], outcomes.white_box[number]
    asked = np.flatnonzero(~white_box & (found >= 0).any(axis=1)).tolist()
    rows = [row for row in asked if outcomes.victims[row] not in without]
    itself = {
        "itself" if white_box.sum() == 1 else f"{outcomes.victims[row]} itself": share(found[row])
        for row in np.flatnonzero(white_box).tolist()
    }
    if not itself:
        itself = {"itself": share(outcomes.column("surrogate_adv", number, 0)[images] != outcomes.labels[images])}

    def average(name: str, victim: int = 0) -> float:
        return float(outcomes.column(name, number, victim)[images].mean()) if name in columns else float("nan")

    return Answers(
        gradients=outcomes.attacks[number].gradients,
        found=found[rows],
        victims=tuple(outcomes.victims[row] for row in rows),
        itself=itself,
        rise=float(np.mean([average("loss", row) - average("clean_loss", row) for row in rows])),
        levels=average("levels"),
    )


def rate_rows(study: Study, rows: Sequence[Row]) -> list[Row]:
    """The rows of a table of rates, with what is computed: means over victims and single victims, in per cent."""
    found: list[Row] = []
    for mine in groups(rows).values():
        answers = study.answers(map(key_of, mine), mine[0])
        found += [{**_keys(row), **_cells(answers[key_of(row)])} for row in mine]
    return found


def _cells(found: Answers) -> Row:
    cells = {"n": str(found.found.shape[1]), "gradients": str(found.gradients), **_interval("mean", mean(found.found))}
    for name, one in (dict(zip(found.victims, map(share, found.found), strict=True)) | found.itself).items():
        cells |= _interval(name, one, unit=100)
    extra = {"loss_rise": found.rise, "levels": found.levels}
    return cells | {name: f"{value:.2f}" for name, value in extra.items() if not np.isnan(value)}


def _interval(name: str, found: Interval | Rate, unit: float = 1) -> Row:
    if found.value is None:
        return {}
    ends = {"": found.value, "_low": found.low, "_high": found.high}
    return {name + end: f"{unit * value:.2f}" for end, value in ends.items()}


def difference_rows(study: Study, rows: Sequence[Row]) -> list[Row]:
    """The rows of a table of comparisons, with what is computed; p is corrected by Holm's method within each table."""
    found: list[Row] = []
    p: dict[str, list[float]] = {}
    for mine in groups(rows).values():
        answers = study.answers([key for row in mine for key in (key_of(row), other_of(row))], mine[0])
        for row in mine:
            values = gaps(answers[key_of(row)].found, answers[other_of(row)].found)
            test = paired_test(values, unit=100, flips=FLIPS[study.name])
            found.append({**_keys(row), "n": str(len(values)), **_interval("difference", test)})
            p.setdefault(row["table"], []).append(test.p)
    corrected = {table: iter(holm(values)) for table, values in p.items()}
    return [{**row, "p": f"{next(corrected[row['table']]):.2g}"} for row in found]


def _keys(row: Row) -> Row:
    return {name: row[name] for name in (*KEYS, *AGAINST, "images", "without") if name in row}


def key_of(row: Row) -> Key:
    """The attack that a row of a CSV is about."""
    return row["surrogate"], row["recipe"], row["eps"], row["steps"]


def other_of(row: Row) -> Key:
    """The attack that it is compared with."""
    return row["against_surrogate"], row["against"], row["eps"], row.get("against_steps") or row["steps"]


@cache
def read_csv(name: str) -> list[Row]:
    """The rows of one of the CSVs under `docs/tables`."""
    return list(csv.DictReader(io.StringIO((TABLES / f"{name}.csv").read_text(encoding="utf-8"))))


def write_csv(name: str, rows: Sequence[Row]) -> None:
    """Rows as one of the CSVs, with the columns of all of them."""
    text = io.StringIO()
    writer = csv.DictWriter(text, dict.fromkeys(head for row in rows for head in row), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(TABLES / f"{name}.csv", text.getvalue().encode())
    read_csv.cache_clear()


def groups(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows of each table and surrogate, variants of a surrogate together: all are about the same images."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["table"], row["surrogate"].partition(",")[0]), []).append(row)
    return found
