"""Two tables paired by image: against rows counted slowly, and what cannot be paired is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from result_tables import synthetic
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

from linbp.errors import StoreError
from linbp.evaluation.statistics import Outcomes, compare_tables, difference_by_image, paired_test, rate


def with_column(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    field = table.schema.field(name)
    return table.set_column(table.column_names.index(name), field, pa.array(values, field.type))


def answers(table: pa.Table, **wanted: str) -> dict[str, bool]:
    """Slowly: the success on each counted image of the rows that have these words."""
    return {
        row["image_id"]: row["success"]
        for row in table.to_pylist()
        if all(row[name] == word for name, word in wanted.items()) and row["success"] is not None and row["selected"]
    }


def test_two_versions_of_victims_are_paired_cell_by_cell() -> None:
    old, new = synthetic(images=60, seed=0), synthetic(images=60, seed=1)
    labels = dict(zip(old["image_id"].to_pylist(), old["label"].to_pylist(), strict=True))
    new = with_column(new, "label", [labels[name] for name in new["image_id"].to_pylist()])
    new = with_column(new, "seed", [0] * new.num_rows)
    mixed = new.take(pa.array(np.random.default_rng(2).permutation(new.num_rows)))
    found = compare_tables(Outcomes(old), Outcomes(mixed))
    singles = [pair for pair in found if pair.rates is not None]
    means = [pair for pair in found if pair.rates is None]
    assert (len(singles), len(means)) == (8, 4)
    for pair in singles:
        words = {"recipe": pair.one.recipe, "eps_text": pair.one.eps_text, "victim": pair.victim}
        assert (pair.other.recipe, pair.other.eps, pair.other_victim) == (pair.one.recipe, pair.one.eps, pair.victim)
        before, after = answers(old, **words), answers(new, **words)
        both = before.keys() & after.keys()
        won = {name for name in both if after[name] and not before[name]}
        lost = {name for name in both if before[name] and not after[name]}
        assert (set(pair.won), set(pair.lost), pair.images) == (won, lost, len(both))
        sums = [sum(side[name] for name in both) for side in (before, after)]
        assert pair.rates == tuple(rate(wins, len(both)) for wins in sums)
        assert pair.difference.value == pytest.approx(100 * (sums[1] - sums[0]) / len(both))
        assert pair.difference.low <= pair.difference.value <= pair.difference.high
        exact = binomtest(len(won), len(won) + len(lost)).pvalue if won or lost else 1.0
        assert pair.difference.p == pytest.approx(exact)
    adjusted = multipletests([pair.difference.p for pair in singles], method="holm")[1]
    assert [pair.adjusted for pair in singles] == pytest.approx(list(adjusted))
    for pair in means:
        mine = [
            [answers(side, recipe=pair.one.recipe, eps_text=pair.one.eps_text, victim=name) for side in (old, new)]
            for name in ("first", "second")
        ]
        names = sorted({name for before, after in mine for name in before.keys() & after.keys()})
        shape = [[[side.get(name) for name in names] for side in sides] for sides in mine]
        known = np.array([[None not in pair for pair in zip(*sides, strict=True)] for sides in shape])
        before, after = (np.array([[bool(won) for won in sides[side]] for sides in shape]) for side in (0, 1))
        parts = difference_by_image(after, before, known)
        assert pair.images == len(names)
        assert pair.difference.value == pytest.approx(paired_test(parts, unit=100).value)


def test_two_attacks_of_one_recipe_each_are_paired_at_each_radius() -> None:
    both = synthetic(images=30)
    one, other = (
        both.filter(pa.array([name == wanted for name in both["recipe"].to_pylist()])) for wanted in ("mi", "linbp")
    )
    found = [pair for pair in compare_tables(Outcomes(one), Outcomes(other)) if pair.rates is not None]
    assert {(pair.one.recipe, pair.other.recipe) for pair in found} == {("mi", "linbp")}
    assert sorted((pair.one.eps_text, pair.victim) for pair in found) == sorted(
        (eps, victim) for eps in ("4/255", "8/255") for victim in ("first", "second")
    )
    turned = [pair for pair in compare_tables(Outcomes(other), Outcomes(one)) if pair.rates is not None]
    for pair, back in zip(found, turned, strict=True):
        assert pair.difference.value == pytest.approx(-back.difference.value)
        assert pair.difference.p == pytest.approx(back.difference.p)
        assert (pair.won, pair.lost) == (back.lost, back.won)


def test_one_victim_each_are_two_versions_whatever_their_names() -> None:
    old, new = (synthetic(images=20, victims=(name,)) for name in ("v1", "v2"))
    found = compare_tables(Outcomes(old), Outcomes(new))
    assert {(pair.victim, pair.other_victim) for pair in found} == {("v1", "v2")}
    assert {pair.difference.value for pair in found} == {0.0}
    assert {pair.difference.p for pair in found} == {1.0}


def renamed(table: pa.Table, name: str) -> pa.Table:
    return with_column(table, "image_id", [f"{name}{one}" for one in table["image_id"].to_pylist()])


def test_what_cannot_be_paired_is_refused() -> None:
    table = synthetic(images=12)
    with pytest.raises(StoreError, match=r"no images in common.*image_00000.*other_image_00000"):
        compare_tables(Outcomes(table), Outcomes(renamed(table, "other_")))
    labels = [label + (name == "image_00003") for name, label in zip(*columns(table), strict=True)]
    with pytest.raises(StoreError, match=r"image_00003.*label"):
        compare_tables(Outcomes(table), Outcomes(with_column(table, "label", labels)))
    with pytest.raises(StoreError, match=r"no victim in common: first, second; and third\."):
        compare_tables(Outcomes(table), Outcomes(synthetic(images=12, victims=("third",))))
    unlike = [synthetic(images=12, recipes=names, surrogates=("s", "t")) for names in (("a", "b"), ("c", "d", "e"))]
    with pytest.raises(StoreError, match=r"8 attacks.*12"):
        compare_tables(*map(Outcomes, unlike))
    nothing = with_column(table, "success", [None] * table.num_rows)
    with pytest.raises(StoreError, match="right in both"):
        compare_tables(Outcomes(table), Outcomes(nothing))


def columns(table: pa.Table) -> tuple[list[str], list[int]]:
    return table["image_id"].to_pylist(), table["label"].to_pylist()
