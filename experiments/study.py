"""A study's table of results, and the figures that are computed from it: rates, means over victims, differences.

A table that a page links is a CSV. Its first columns say which attack a row is about; the others are what is computed
here, so that the file is at once the list of what is shown and what came out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from linbp.data.files import write_atomically
from linbp.evaluation.statistics import (
    Difference,
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
there is such a column, says which of the study's images count, such as 24:300 (default: those that all attacks of the
table were made of), and `without` which networks do not count as victims."""
AGAINST = ("against_surrogate", "against", "against_steps")
"""More of them in a table of comparisons: the other attack, at the same radius; without `against_steps` of as many
steps."""
FLIPS = {"cifar10": 9_999, "cifar10-wide": 9_999, "photographs": 99_999, "causes": 99_999}
"""How many random signs p of the permutation test comes from."""

Row = dict[str, str]
Key = tuple[str, str, str, str]
"""Surrogate, recipe, radius as text, steps as text."""
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Answers:
    """What one attack did to the images that all attacks of its table were made of.

    Attributes:
        gradients: per image.
        victims: names.
        success: (victims, images) whether the victim was fooled.
        counted: of the same shape: whether it had the clean image right.
        itself: the rate of each network that was attacked, over the images that it has right; a variant of a network
            that is no victim under its own name need not have the images right, and all of them count.
        rise: by how many nats the victims' mean cross-entropy rose, mean over victims; NaN where that was not kept.
        levels: mean absolute change of a pixel's channel, in levels; NaN where that was not kept.
    """

    gradients: int
    victims: tuple[str, ...]
    success: Bools
    counted: Bools
    itself: dict[str, Rate]
    rise: float
    levels: float

    @property
    def n(self) -> int:
        """How many images."""
        return self.success.shape[1]

    @cached_property
    def mean(self) -> Interval:
        """Mean over victims in per cent, with a bootstrap over images."""
        return mean_over_victims(self.success, self.counted, unit=100)

    def rate(self, victim: str) -> Rate:
        """Of one victim."""
        row = self.victims.index(victim)
        return _share(np.where(self.counted, self.success, -1)[row])

    def minus(self, other: Answers, flips: int) -> Difference:
        """The difference of two means over victims in points, with its interval and p; paired by image."""
        return paired_test(difference_by_image(self.success, other.success, self.counted), unit=100, flips=flips)


class Study:
    """A table of results with the columns of `linbp.bench.table`, or as many as are known, and some more.

    Args:
        name: of the Parquet file in `results/`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._file = RESULTS / f"{name}.parquet"
        not_read = ("pixels", "device", "torch", "linbp", "step_size")
        self._columns = [one for one in pq.read_schema(self._file).names if one not in not_read]

    def answers(self, keys: Iterable[Key], row: Row | None = None) -> dict[Key, Answers]:
        """What some attacks on one surrogate and its variants did, on the images that all of them were made of.

        Args:
            keys: of the attacks.
            row: of a table, which says in `images` and `without` what counts there; default: everything.
        """
        wanted, row = list(dict.fromkeys(keys)), row or {}
        outcomes = Outcomes(self._rows(wanted))
        numbers: dict[Key, int] = {
            (one.surrogate, one.recipe, one.eps_text, str(one.steps)): number
            for number, one in enumerate(outcomes.attacks)
        }
        first, colon, end = row.get("images", "").partition(":")
        places = np.arange(len(outcomes.images))[slice(int(first), int(end)) if colon else slice(None)]
        for key in wanted:
            places = places[outcomes.column("adv_prediction", numbers[key], 0)[places] >= 0]
        without = row.get("without", "").split()
        return {key: _answers(outcomes, numbers[key], places, without, self._columns) for key in wanted}

    def _rows(self, keys: Sequence[Key]) -> pa.Table:
        """The rows of some attacks."""
        if missing := [key for key in keys if key not in self.attacks]:
            raise KeyError(f"{self._file.name} has no attack {missing[0]}")
        named = [
            ("surrogate", "in", sorted({key[0] for key in keys})),  # tells which parts of the file need not be read
            ("attack_key", "in", [self.attacks[key] for key in keys]),
        ]
        return pq.read_table(self._file, columns=self._columns, filters=named)

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
        "itself" if white_box.sum() == 1 else f"{outcomes.victims[row]} itself": _share(found[row])
        for row in np.flatnonzero(white_box).tolist()
    }
    if not itself:
        itself = {"itself": _share(outcomes.column("surrogate_adv", number, 0)[images] != outcomes.labels[images])}

    def mean(name: str, victim: int = 0) -> float:
        return float(outcomes.column(name, number, victim)[images].mean()) if name in columns else float("nan")

    return Answers(
        gradients=outcomes.attacks[number].gradients,
        victims=tuple(outcomes.victims[row] for row in rows),
        success=found[rows] == 1,
        counted=found[rows] >= 0,
        itself=itself,
        rise=float(np.mean([mean("loss", row) - mean("clean_loss", row) for row in rows])),
        levels=mean("levels"),
    )


def _share(answers: npt.NDArray[Any]) -> Rate:
    """Of successes among those that count, of one victim's answers or of plain truths."""
    return rate(int((answers == 1).sum()), int((answers >= 0).sum()))


def rate_rows(study: Study, rows: Sequence[Row]) -> list[Row]:
    """The rows of a table of rates, with what is computed: means over victims and single victims, in per cent."""
    found: list[Row] = []
    for mine in groups(rows).values():
        answers = study.answers(map(key_of, mine), mine[0])
        found += [{**_keys(row), **_cells(answers[key_of(row)])} for row in mine]
    return found


def _cells(found: Answers) -> Row:
    cells = {"n": str(found.n), "gradients": str(found.gradients), **_interval("mean", found.mean)}
    for name, one in ({name: found.rate(name) for name in found.victims} | found.itself).items():
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
    found: list[tuple[Row, int, Difference]] = []
    for mine in groups(rows).values():
        keys = [key for row in mine for key in (key_of(row), other_of(row))]
        answers = study.answers(keys, mine[0])
        for row in mine:
            one, other = answers[key_of(row)], answers[other_of(row)]
            found.append((_keys(row), one.n, one.minus(other, FLIPS[study.name])))
    corrected: dict[int, float] = {}
    for name in dict.fromkeys(row["table"] for row, _, _ in found):
        places = [place for place, (row, _, _) in enumerate(found) if row["table"] == name]
        corrected |= dict(zip(places, holm([found[place][2].p for place in places]), strict=True))
    return [
        {**row, "n": str(n), **_interval("difference", test), "p": f"{corrected[place]:.2g}"}
        for place, (row, n, test) in enumerate(found)
    ]


def _keys(row: Row) -> Row:
    names = (*KEYS, *AGAINST, "images", "without")
    return {name: row[name] for name in names if name in row}


def key_of(row: Row) -> Key:
    """The attack that a row of a CSV is about."""
    return row["surrogate"], row["recipe"], row["eps"], row["steps"]


def other_of(row: Row) -> Key:
    """The attack that it is compared with."""
    return row["against_surrogate"], row["against"], row["eps"], row.get("against_steps") or row["steps"]


def read_csv(path: Path) -> list[Row]:
    """The rows of a CSV."""
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def write_csv(name: str, rows: Sequence[Row]) -> None:
    """Rows as one of the CSVs under `docs/tables`, with the columns of all of them."""
    text = io.StringIO()
    writer = csv.DictWriter(text, dict.fromkeys(head for row in rows for head in row), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(TABLES / f"{name}.csv", text.getvalue().encode())


def groups(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows of each table and surrogate, variants of a surrogate together: all are about the same images."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["table"], row["surrogate"].partition(",")[0]), []).append(row)
    return found
