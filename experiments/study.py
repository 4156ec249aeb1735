"""A study's table of results, and the figures that are computed from it: rates, means over victims, differences.

A table that a page links is a CSV. Its first columns say which attack a row is about; the others are what is computed
here, so that the file is at once the list of what is shown and what came out.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

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
        return rate(int((self.success & self.counted)[row].sum()), int(self.counted[row].sum()))

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
        schema = pq.read_schema(self._file)
        self._columns = [one for one in schema.names if one not in ("pixels", "device", "torch", "linbp", "step_size")]
        self.facts = {
            name.decode().removeprefix("linbp."): json.loads(text) for name, text in (schema.metadata or {}).items()
        }

    def answers(
        self, keys: Iterable[Key], images: slice = slice(None), without: Sequence[str] = ()
    ) -> dict[Key, Answers]:
        """What some attacks on one surrogate and its variants did, on the images that all of them were made of.

        Args:
            keys: of the attacks.
            images: which of the images, in the order of the table.
            without: networks that do not count as victims here.
        """
        wanted = list(dict.fromkeys(keys))
        outcomes = Outcomes(self._rows(wanted))
        numbers: dict[Key, int] = {
            (one.surrogate, one.recipe, one.eps_text, str(one.steps)): number
            for number, one in enumerate(outcomes.attacks)
        }
        shared = np.logical_and.reduce([outcomes.column("adv_prediction", numbers[key], 0) >= 0 for key in wanted])
        places = np.flatnonzero(shared)
        places = places[np.isin(places, np.arange(len(shared))[images])]
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
    found = outcomes.answers(number)[:, images]
    asked = ~outcomes.white_box[number] & (found >= 0).any(axis=1)
    rows = [row for row in np.flatnonzero(asked).tolist() if outcomes.victims[row] not in without]

    def mean(name: str, victim: int = 0) -> float:
        if name not in columns:
            return float("nan")
        return float(outcomes.column(name, number, victim)[images].mean())

    def own() -> dict[str, Rate]:
        attacked = np.flatnonzero(outcomes.white_box[number]).tolist()
        if not attacked:
            wrong = outcomes.column("surrogate_adv", number, 0)[images] != outcomes.labels[images]
            return {"itself": rate(int(wrong.sum()), len(wrong))}
        names = ["itself"] if len(attacked) == 1 else [f"{outcomes.victims[row]} itself" for row in attacked]
        return {
            name: rate(int((found[row] == 1).sum()), int((found[row] >= 0).sum()))
            for name, row in zip(names, attacked, strict=True)
        }

    return Answers(
        gradients=outcomes.attacks[number].gradients,
        victims=tuple(outcomes.victims[row] for row in rows),
        success=found[rows] == 1,
        counted=found[rows] >= 0,
        itself=own(),
        rise=float(np.mean([mean("loss", row) - mean("clean_loss", row) for row in rows])),
        levels=mean("levels"),
    )


def rate_rows(study: Study, rows: Sequence[Row]) -> list[Row]:
    """The rows of a table of rates, with what is computed: means over victims and single victims, in per cent."""
    found: list[Row] = []
    for mine in groups(rows).values():
        answers = study.answers(map(key_of, mine), images_of(mine[0]), mine[0].get("without", "").split())
        found += [{**_keys(row), **_cells(answers[key_of(row)])} for row in mine]
    return found


def _cells(found: Answers) -> Row:
    cells = {"n": str(found.n), "gradients": str(found.gradients), **_interval("mean", found.mean)}
    for name in found.victims:
        cells |= _share(name, found.rate(name))
    for name, one in found.itself.items():
        cells |= _share(name, one)
    return cells | {
        name: f"{value:.2f}"
        for name, value in (("loss_rise", found.rise), ("levels", found.levels))
        if not np.isnan(value)
    }


def _interval(name: str, found: Interval) -> Row:
    return {name: f"{found.value:.2f}", f"{name}_low": f"{found.low:.2f}", f"{name}_high": f"{found.high:.2f}"}


def _share(name: str, found: Rate) -> Row:
    if found.value is None:
        return {}
    return _interval(name, Interval(value=100 * found.value, low=100 * found.low, high=100 * found.high))


def difference_rows(study: Study, rows: Sequence[Row]) -> list[Row]:
    """The rows of a table of comparisons, with what is computed; p is corrected by Holm's method within each table."""
    found: list[tuple[Row, int, Difference]] = []
    for mine in groups(rows).values():
        keys = [key for row in mine for key in (key_of(row), other_of(row))]
        answers = study.answers(keys, images_of(mine[0]), mine[0].get("without", "").split())
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


def images_of(row: Row) -> slice:
    """Which of the study's images a row is about."""
    first, colon, end = row.get("images", "").partition(":")
    return slice(int(first), int(end)) if colon else slice(None)


def key_of(row: Row) -> Key:
    """The attack that a row of a CSV is about."""
    return row["surrogate"], row["recipe"], row["eps"], row["steps"]


def other_of(row: Row) -> Key:
    """The attack that it is compared with."""
    return row["against_surrogate"], row["against"], row["eps"], row.get("against_steps") or row["steps"]


def read_csv(path: Path) -> list[Row]:
    """The rows of a CSV."""
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def csv_text(rows: Sequence[Row]) -> str:
    """Rows as a CSV with the columns of all of them."""
    heads = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, heads, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def groups(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """The rows of each table and surrogate, variants of a surrogate together: all are about the same images."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["table"], row["surrogate"].partition(",")[0]), []).append(row)
    return found
