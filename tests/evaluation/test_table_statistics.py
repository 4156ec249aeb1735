"""Statistics of a whole table of results, against the same counted slowly, row by row."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from result_tables import synthetic
from statsmodels.stats.multitest import multipletests

from linbp.errors import StoreError
from linbp.evaluation.statistics import (
    Outcomes,
    compare_with_best,
    count_images,
    difference_by_image,
    mean_over_victims,
    paired_test,
    rate,
    rate_classes,
    settings_of,
    standings,
    worst_cases,
)

NAMES = {
    "surrogates": ("source", "other"),
    "recipes": ("mi", "linbp", "di"),
    "eps": ("4/255", "8/255"),
    "victims": ("first", "second", "third"),
}


def table(**changes: Any) -> pa.Table:
    """Results whose rows are mixed, some not selected, some missing, one victim a white box for one surrogate."""
    made = synthetic(images=50, **{**NAMES, **changes})
    draw = np.random.default_rng(1)
    rows = made.num_rows
    whole = made.to_pydict()
    white = [v == "third" and s == "other" for v, s in zip(whole["victim"], whole["surrogate"], strict=True)]
    made = made.set_column(made.column_names.index("white_box"), made.schema.field("white_box"), pa.array(white))
    selected = pa.array(draw.random(rows) < 0.9)
    made = made.set_column(made.column_names.index("selected"), made.schema.field("selected"), selected)
    return made.take(pa.array(draw.permutation(rows)[: rows - 30]))


def by_attack(rows: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    found = defaultdict(list)
    for row in rows:
        found[row["surrogate"], row["recipe"], row["eps_text"]].append(row)
    return found


def counts(row: dict[str, Any]) -> bool:
    return bool(row["selected"]) and row["success"] is not None


def test_each_attack_has_its_rate_on_each_victim_and_the_mean_of_the_black_boxes() -> None:
    made = table()
    outcomes, slow = Outcomes(made), by_attack(made.to_pylist())
    found = standings(outcomes)
    assert len(found) == len(slow) == 12
    for number, standing in enumerate(found):
        attack = standing.attack
        rows = slow[attack.surrogate, attack.recipe, attack.eps_text]
        assert (attack.gradients, attack.attack) == (rows[0]["gradients"], rows[0]["attack"])
        black = []
        for victim, one, white in zip(outcomes.victims, standing.rates, standing.white_box, strict=True):
            counted = [row for row in rows if row["victim"] == victim and counts(row)]
            assert one == rate(sum(row["success"] for row in counted), len(counted))
            assert white is (victim == "third" and attack.surrogate == "other")
            if not white:
                black.append(np.mean([row["success"] for row in counted]))
        assert standing.mean is not None
        assert standing.mean.value == pytest.approx(np.mean(black))
        known = outcomes.transferred(number)
        assert len(known) == len(black)
        assert standing.mean == mean_over_victims(known == 1, known >= 0)
        assert standing.linf_max == max(row["linf"] for row in rows)
        distances = {row["image_id"]: row["l2"] for row in rows}
        assert standing.l2_mean == pytest.approx(np.mean(list(distances.values())))


def test_the_order_of_rows_changes_no_figure() -> None:
    made = table()
    turned = made.take(pa.array(np.arange(made.num_rows)[::-1]))
    one, other = (standings(Outcomes(rows)) for rows in (made, turned))
    for first, second in zip(one, other, strict=True):
        assert first.attack == second.attack
        assert first.mean is not None
        assert second.mean is not None
        assert first.mean.value == pytest.approx(second.mean.value)
        assert sorted(map(str, first.rates)) == sorted(map(str, second.rates))


def test_the_worst_case_is_any_attack_that_is_no_white_box() -> None:
    made = table()
    outcomes, rows = Outcomes(made), made.to_pylist()
    found = worst_cases(outcomes)
    assert [one.eps for one in found] == [4 / 255, 8 / 255]
    for one in found:
        assert (one.attacks, one.gradients) == (6, 2 * (10 + 20 + 30))
        for victim, worst in zip(outcomes.victims, one.rates, strict=True):
            mine = [
                row
                for row in rows
                if row["victim"] == victim and row["eps"] == one.eps and counts(row) and not row["white_box"]
            ]
            images = {row["image_id"] for row in mine}
            fooled = {row["image_id"] for row in mine if row["success"]}
            assert worst == rate(len(fooled), len(images))
        assert one.mean is not None
        shown = [worst.value for worst in one.rates if worst is not None and worst.value is not None]
        assert one.mean.value == pytest.approx(np.mean(shown))
        assert one.mean.value >= max(
            best.mean.value for best in standings(outcomes) if best.attack.eps == one.eps and best.mean
        )


def test_the_best_recipe_of_each_setting_meets_every_other_on_the_same_images() -> None:
    outcomes = Outcomes(table())
    found = standings(outcomes)
    comparisons = compare_with_best(outcomes, found)
    settings = settings_of(outcomes)
    assert [one.setting for one in comparisons] == [setting for setting in settings for _ in range(2)]
    for one in comparisons:
        best, other = found[one.one].mean, found[one.other].mean
        assert best is not None
        assert other is not None
        assert best.value >= other.value
        names = ("first", "second") if one.setting.surrogate == "other" else ("first", "second", "third")
        victims = sorted(outcomes.victims.index(name) for name in names)
        first, second = (outcomes.answers(number)[victims] for number in (one.one, one.other))
        both = (first >= 0) & (second >= 0)
        images = both.any(axis=0)
        values = difference_by_image(*(part[:, images] for part in (first == 1, second == 1, both)))
        assert (one.images, one.victims) == (len(values), len(victims))
        alone = paired_test(values, unit=100)
        assert (one.difference.value, one.difference.low) == (alone.value, alone.low)
        assert one.difference.p == pytest.approx(paired_test(values, flips=9_999).p, rel=0.2, abs=0.01)
    adjusted = multipletests([one.difference.p for one in comparisons], method="holm")[1]
    assert [one.adjusted for one in comparisons] == pytest.approx(list(adjusted))


def test_cheap_and_dear_runs_of_a_recipe_are_compared_with_their_like() -> None:
    cheap, dear = table(steps=10), table(steps=100)
    dear = dear.set_column(
        dear.column_names.index("attack_key"),
        "attack_key",
        pc.binary_join_element_wise(dear["attack_key"].cast(pa.string()), "x", "").dictionary_encode(),
    ).cast(cheap.schema)
    outcomes = Outcomes(pa.concat_tables([cheap, dear]))
    settings = settings_of(outcomes)
    assert {setting.budget for setting in settings} == {0, 1}
    for setting, numbers in settings.items():
        steps = {outcomes.attacks[number].steps for number in numbers}
        assert steps == {(10, 100)[setting.budget]}
        assert sorted(outcomes.attacks[number].recipe for number in numbers) == ["di", "linbp", "mi"]


def test_images_and_classes_are_counted_over_the_victims_that_had_them_right() -> None:
    made = table()
    outcomes, rows = Outcomes(made), made.to_pylist()
    attack = next(
        number
        for number, one in enumerate(outcomes.attacks)
        if (one.surrogate, one.recipe, one.eps_text) == ("other", "linbp", "8/255")
    )
    images = count_images(outcomes, attack)
    classes = {one.label: one for one in rate_classes(outcomes, images)}
    fooled_of: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for one in images:
        name = outcomes.images[one.image]
        mine = [
            row
            for row in rows
            if (row["image_id"], row["eps_text"]) == (name, "8/255") and counts(row) and not row["white_box"]
        ]
        here = {
            row["victim"]: row["success"] for row in mine if (row["surrogate"], row["recipe"]) == ("other", "linbp")
        }
        anyhow = {row["victim"] for row in mine if row["success"]} & here.keys()
        assert (one.counted, one.fooled, one.by_any) == (len(here), sum(here.values()), len(anyhow))
        fooled_of[int(outcomes.labels[one.image])].append((one.fooled, one.counted))
    assert classes.keys() == fooled_of.keys()
    for label, pairs in fooled_of.items():
        assert classes[label].rate == rate(sum(fooled > 0 for fooled, _ in pairs), len(pairs))
        assert classes[label].share == pytest.approx(math.fsum(a / b for a, b in pairs) / len(pairs))


def test_a_victim_that_is_a_white_box_for_every_attack_leaves_no_mean() -> None:
    made = synthetic(images=8)
    white = pa.array([True] * made.num_rows)
    outcomes = Outcomes(made.set_column(made.column_names.index("white_box"), made.schema.field("white_box"), white))
    assert {one.mean for one in standings(outcomes)} == {None}
    assert compare_with_best(outcomes, standings(outcomes)) == ()
    assert {one.mean for one in worst_cases(outcomes)} == {None}
    assert count_images(outcomes, 0) == ()


def test_tables_with_no_rows_or_the_same_row_twice_are_refused() -> None:
    made = synthetic(images=5)
    with pytest.raises(StoreError, match="no rows"):
        Outcomes(made.slice(0, 0))
    with pytest.raises(StoreError, match="image_00003"):
        Outcomes(pa.concat_tables([made, made.slice(3, 1)]))


def test_columns_and_clean_predictions_are_those_of_the_rows() -> None:
    made = table()
    outcomes, rows = Outcomes(made), made.to_pylist()
    for row in rows[::37]:
        image, victim = outcomes.images.index(row["image_id"]), outcomes.victims.index(row["victim"])
        attack = next(number for number, one in enumerate(outcomes.attacks) if one.attack == row["attack"])
        assert outcomes.column("adv_prediction", attack, victim)[image] == row["adv_prediction"]
        assert outcomes.clean[victim, image] == row["clean_prediction"]
        assert outcomes.labels[image] == row["label"]
        assert outcomes.files[image] == row["file"]
