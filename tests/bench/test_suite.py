"""Suite files: what they may say, what is wrong with one that says something else, and recipes with places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_suites import small_suite

from linbp.bench.run import run_bench
from linbp.bench.suite import read_suite, suite_of, suite_text
from linbp.bench.suite_data import Cifar10Data, DemoData, FilesData, TableData, with_data
from linbp.errors import LinbpError, SuiteError


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": {"a": "ifgsm"}}, ["recipe", "'recipes'"]),
        ({"cost": {"step": 3}}, ["cost.step", "'steps'"]),
        ({"data": {"kind": "csv", "paht": "x", "path": "y"}}, ["data.paht", "'path'"]),
        ({"data": {"kind": "cvs", "path": "y"}}, ["data.kind", "'csv'"]),
        ({"data": {"path": "y"}}, ["data.kind", "'csv'"]),
        ({"surrogates": [{"model": "x.pt2", "rules": "linbp"}]}, ["surrogates[1].rules", "'rule'"]),
        ({"surrogates": [{"model": "x.pt2", "places": {"start": True}}]}, ["surrogates[1].places"]),
        ({"seed": "1"}, ["seed", "'1'"]),
        ({"eps": []}, ["eps", "[]"]),
        ({"eps": ["8/255", "8/255"]}, ["8/255", "twice"]),
        ({"victims": ["x.pt2", "x.pt2"]}, ["victims", "x.pt2"]),
        ({"cost": {"steps": 3, "gradients": 3}}, ["steps", "gradients"]),
        ({"cost": {"gradients": [3, 3]}}, ["gradients", "3", "twice"]),
        ({"cost": {"gradients": [3, 0]}}, ["cost.gradients[2]", "0"]),
        ({"recipes": [{"name": "a", "recipe": "ifgsm", "on": ["tini"]}]}, ["'tini'", "'tiny'"]),
        ({"name": "a/b"}, ["a/b"]),
    ],
)
def test_a_fault_names_its_place_and_what_may_stand_there(
    tmp_path: Path, change: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(SuiteError) as caught:
        read_suite(small_suite(tmp_path, **change))
    (fault,) = caught.value.faults
    for word in words:
        assert word in f"{fault.message} {fault.hint}"


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    suite = small_suite(tmp_path, shard_sice=1, seed="x", norm="l3", victims=None)
    with pytest.raises(SuiteError) as caught:
        read_suite(suite)
    assert len(caught.value.faults) == 4


def test_a_suite_that_is_written_out_is_the_same_suite(tmp_path: Path) -> None:
    surrogates = [{"name": "tiny", "model": "file:nets.py:tiny", "places": {"start": 1, "share": 0.5, "at": "layer"}}]
    recipes = [{"name": "a", "recipe": "linbp(start={start})", "on": ["tiny"]}, {"name": "b", "recipe": "ifgsm"}]
    suite, _ = read_suite(small_suite(tmp_path, surrogates=surrogates, recipes=recipes))
    assert suite.surrogates[0].places == (("start", "1"), ("share", "0.5"), ("at", "layer"))
    (tmp_path / "again.toml").write_text(suite_text(suite))
    assert read_suite(tmp_path / "again.toml")[0] == suite


def test_a_place_is_each_surrogates_own_and_a_recipe_may_be_for_some_of_them(tmp_path: Path) -> None:
    nets = f"file:{tmp_path / 'nets.py'}"
    surrogates = [
        {"name": "first", "model": f"{nets}:tiny", "places": {"start": 1}},
        {"name": "second", "model": f"{nets}:tiny_chain", "places": {"start": 0}},
    ]
    recipes = [
        {"name": "linbp", "recipe": "linbp(start={start}) + mi"},
        {"name": "mi", "recipe": "mifgsm", "on": ["second"]},
    ]
    suite = small_suite(tmp_path, surrogates=surrogates, recipes=recipes, eps="8/255")
    rows = run_bench(suite, tmp_path / "run").results.to_pylist()
    texts = {(row["surrogate"], row["recipe"], row["recipe_text"]) for row in rows}
    assert texts == {
        ("first", "linbp", "linbp(start=1) + mi"),
        ("second", "linbp", "linbp(start=0) + mi"),
        ("second", "mi", "mifgsm"),
    }
    # The same attacks, written out for a surrogate of its own.
    other = small_suite(
        tmp_path / "other",
        name="other",
        surrogates=[{"name": "second", "model": f"{nets}:tiny_chain"}],
        recipes=[{"name": "linbp", "recipe": "linbp(start=0) + mi"}],
        eps="8/255",
        victims={"chain": f"{nets}:tiny_chain", "white": f"{nets}:tiny"},
    )
    wanted = run_bench(other, tmp_path / "other" / "run").results["adv_prediction"].to_pylist()
    found = [row["adv_prediction"] for row in rows if (row["surrogate"], row["recipe"]) == ("second", "linbp")]
    assert found == wanted


@pytest.mark.parametrize(
    ("places", "recipes", "words"),
    [
        ({}, {"linbp": "linbp(start={start})"}, ["linbp", "tiny", "'start'"]),
        ({"start": 1, "late": 2}, {"linbp": "linbp(start={start})"}, ["tiny", "'late'"]),
        ({"start": "99"}, {"linbp": "linbp(start={start})"}, ["linbp", "tiny", "99"]),
        ({"start": 1}, [{"name": "a", "recipe": "ifgsm", "on": ["white"]}, "mifgsm({start})"], ["mifgsm"]),
    ],
)
def test_places_that_lack_or_do_nothing_are_faults(
    tmp_path: Path, places: dict[str, Any], recipes: Any, words: list[str]
) -> None:
    nets = f"file:{tmp_path / 'nets.py'}"
    surrogates = [{"name": "tiny", "model": f"{nets}:tiny", "places": places}]
    if isinstance(recipes, list):
        surrogates.append({"name": "white", "model": f"{nets}:tiny_chain"})
        surrogates[1]["places"] = {"start": 0}
    with pytest.raises(LinbpError) as caught:
        run_bench(small_suite(tmp_path, surrogates=surrogates, recipes=recipes), tmp_path / "run")
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "run" / "attacks").exists()


def test_a_surrogate_without_a_recipe_is_a_fault(tmp_path: Path) -> None:
    nets = f"file:{tmp_path / 'nets.py'}"
    surrogates = [{"name": name, "model": f"{nets}:{name}"} for name in ("tiny", "tiny_chain")]
    recipes = [{"name": "a", "recipe": "ifgsm", "on": ["tiny"]}]
    with pytest.raises(LinbpError, match="tiny_chain"):
        run_bench(small_suite(tmp_path, surrogates=surrogates, recipes=recipes), tmp_path / "run")


def test_data_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    csv = FilesData(kind="csv", path="list.csv", targets="target", first_label=1)
    folder = with_data(csv, "photos", None)
    assert folder == csv.model_copy(update={"kind": "folder", "path": str(tmp_path / "photos")})
    assert with_data(DemoData(kind="demo"), "photos/a.csv", 3) == FilesData(
        kind="csv", path=str(tmp_path / "photos" / "a.csv"), first=3
    )
    assert with_data(csv, "a.parquet", None) == TableData(kind="parquet", path=str(tmp_path / "a.parquet"))
    cifar = Cifar10Data(kind="cifar10", path="x", split="train", download=True)
    assert with_data(cifar, "photos", None) == Cifar10Data(kind="cifar10", path=str(tmp_path / "photos"), split="train")
    table = TableData(kind="huggingface", path="x", image="picture")
    assert with_data(table, "photos", 2).model_dump() == table.model_dump() | {
        "path": str(tmp_path / "photos"),
        "first": 2,
    }
    assert with_data(csv, None, None) == csv


def test_a_run_on_other_and_fewer_images(tmp_path: Path) -> None:
    suite = small_suite(tmp_path / "suite", recipes=["mifgsm"], eps="8/255", victims=None, images=2)
    text = suite.read_text().replace("photos/images.csv", "nowhere.csv")
    suite.write_text(text + f'\n[victims]\nchain = "file:{tmp_path / "suite" / "nets.py"}:tiny_chain"\n')
    with pytest.raises(LinbpError, match=r"nowhere\.csv"):
        run_bench(suite, tmp_path / "run")
    small_suite(tmp_path / "other", images=5)
    run = run_bench(suite, tmp_path / "run", data=tmp_path / "other" / "photos", first=3)
    assert run.results["image_id"].to_pylist() == ["i000", "i001", "i002"]
    assert suite_of(tmp_path / "run" / "suite.toml")[0].data.first == 3
