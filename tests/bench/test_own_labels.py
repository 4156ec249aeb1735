"""Suites whose victims have classes of their own, and whose data are named in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colours import COLOURS, COUNT, colours, surrogate, write_photos

from linbp import Model
from linbp.bench import Suite, run_bench
from linbp.errors import LinbpError
from linbp.evaluation import evaluate_folder
from linbp.evaluation.statistics import Outcomes


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos")
    return tmp_path / "photos"


def networks() -> dict[str, Model]:
    return {
        "other": surrogate(),
        "own": colours(names=COLOURS),
        "turned": colours((2, 0, 1), [COLOURS[at] for at in (2, 0, 1)], name="turned"),
    }


def suite(photos: Path, **changes: Any) -> Suite:
    return Suite.model_validate(
        {
            "name": "own",
            "data": {"kind": "folder", "path": str(photos)},
            "surrogates": [{"name": "other", "model": "other", "labels": "predicted"}],
            "recipes": {"pgd": "pgd"},
            "eps": ["16/255"],
            "victims": [
                {"name": "own", "model": "own", "labels": "given"},
                {"name": "turned", "model": "turned", "labels": "given"},
                {"name": "by itself", "model": "turned", "labels": "predicted"},
            ],
            "cost": {"steps": 10},
            **changes,
        }
    )


def test_victims_are_scored_by_their_own_classes(photos: Path, tmp_path: Path) -> None:
    given = networks()
    run = run_bench(suite(photos), tmp_path / "run", models=given)
    outcomes = Outcomes(run.results)
    assert outcomes.own_labels.shape == (3, COUNT)
    numbers = [int(name.rpartition("_")[2]) for name in outcomes.images]
    assert outcomes.own_labels[0].tolist() == [number % 3 for number in numbers]
    assert outcomes.own_labels[1].tolist() == [(number % 3 + 1) % 3 for number in numbers]
    assert np.array_equal(outcomes.own_labels[2], outcomes.clean[2])
    (folder,) = (tmp_path / "run" / "attacks").iterdir()
    for name, labels in (("own", "given"), ("turned", "given"), ("turned", "predicted")):
        row = outcomes.victims.index("by itself" if labels == "predicted" else name)
        found = evaluate_folder(folder, [given[name]], labels=labels).evaluations[0]
        successes = int((outcomes.answers(0)[row] == 1).sum())
        assert found.statistics.success.successes == successes > 0
        assert found.statistics.right_on_clean == COUNT
    again = run_bench(suite(photos), tmp_path / "run", models=networks())
    assert again.results.equals(run.results)


def test_data_in_words_are_the_surrogates_classes(photos: Path, tmp_path: Path) -> None:
    given = networks()
    same = suite(photos, surrogates=["own"], victims=["own"])
    assert Outcomes(run_bench(same, tmp_path / "one", models=given).results).clean.shape == (1, COUNT)
    (tmp_path / "classes.txt").write_text("\n".join(COLOURS), encoding="utf-8")
    given["own"].class_names = ()
    data = {"kind": "folder", "path": str(photos), "classes": str(tmp_path / "classes.txt")}
    named = run_bench(suite(photos, surrogates=["own"], victims=["own"], data=data), tmp_path / "two", models=given)
    outcomes = Outcomes(named.results)
    assert outcomes.labels.tolist() == [int(name.rpartition("_")[2]) % 3 for name in outcomes.images]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"victims": ["own"]}, "differ in their number of classes"),
        ({"surrogates": ["other"]}, "other has no class"),
        ({"victims": [{"name": "own", "model": "own", "labels": "gone"}]}, "'gone' is no file"),
    ],
)
def test_labels_that_do_not_fit_are_told_before_any_work(
    photos: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    given = networks()
    given["other"].class_names = ("a", "b", "c", "d", "e", "f")
    with pytest.raises(LinbpError) as caught:
        run_bench(suite(photos, **changes), tmp_path / "run", models=given)
    assert words in str(caught.value).replace("classes called", "class called")
    assert not (tmp_path / "run" / "attacks").exists()


def test_images_without_labels_are_told_also_where_labels_are_trusted(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file\n" + "".join(f"{path}\n" for path in photos.glob("*/*.png")))
    data = {"kind": "csv", "path": str(tmp_path / "list.csv")}
    with pytest.raises(LinbpError, match="has no label"):
        run_bench(
            suite(photos, data=data, surrogates=["own"], victims=["own"], trust_labels=True),
            tmp_path / "run",
            models=networks(),
        )
