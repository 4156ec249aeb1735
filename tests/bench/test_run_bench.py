"""A run: its table agrees with attacks and victims asked one by one; run again, it does only what is missing."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from small_suites import small_suite
from tiny_networks import images_and_labels, tiny, tiny_chain

import linbp
import linbp.bench.estimate as measured
from linbp.attack.config import AttackConfig
from linbp.attack.job.craft_folder import craft_folder
from linbp.bench import tasks
from linbp.bench.rates import rates_of
from linbp.bench.run import BenchRun, run_bench
from linbp.bench.table import facts_of
from linbp.data.image_list import list_images
from linbp.errors import LinbpError, StoreError, SuiteError
from linbp.evaluation import evaluate_folder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BenchRun]:
    """A suite's file and its finished run."""
    suite = small_suite(tmp_path_factory.mktemp("bench"))
    return suite, run_bench(suite, suite.parent / "run")


def files_of(run: Path) -> dict[str, tuple[int, bytes]]:
    """Time of the last change and content of every file."""
    return {
        str(path.relative_to(run)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(run.rglob("*"))
        if path.is_file()
    }


def test_each_row_is_what_crafting_and_asking_by_hand_gives(done: tuple[Path, BenchRun]) -> None:
    rows = done[1].results.to_pylist()
    images, labels = images_and_labels(10)
    ids = [f"i{number:03}" for number in range(10)]
    assert len(rows) == 10 * 2 * 2 * 2
    order = [(row["recipe"], row["eps_text"], row["victim"], row["image_id"]) for row in rows]
    assert order == list(itertools.product(("mi", "linbp"), ("8/255", "16/255"), ("chain", "white"), ids))
    victims = {"chain": tiny_chain(), "white": tiny()}
    surrogate = tiny()
    before = surrogate.logits(images / 255).argmax(1)
    for (recipe, eps), group in itertools.groupby(rows, lambda row: (row["recipe_text"], row["eps_text"])):
        adv = linbp.craft(surrogate, images, labels, recipe, eps=eps, steps=3, ids=ids)
        after = surrogate.logits(adv).argmax(1)
        for victim, lines in itertools.groupby(group, lambda row: row["victim"]):
            records = linbp.evaluate(victims[victim], images, adv, labels, ids=ids, trust_labels=True).records
            for row, record in zip(lines, records, strict=True):
                number = ids.index(row["image_id"])
                assert row["clean_prediction"] == record.clean_prediction
                assert row["adv_prediction"] == record.adv_prediction
                assert row["success"] == (record.fooled if record.right_on_clean else None)
                assert (row["linf"], row["l2"]) == (record.linf, record.l2)
                assert row["label"] == labels[number]
                assert (row["surrogate_clean"], row["surrogate_adv"]) == (before[number], after[number])
                assert row["selected"] == bool(before[number] == labels[number])
                assert row["white_box"] == (victim == "white")
                assert (row["steps"], row["gradients"], row["seed"], row["norm"]) == (3, 3, 0, "linf")
                assert row["eps"] == pytest.approx(float(eps.split("/")[0]) / 255)
    assert facts_of(done[1].results)["complete"] == "true"


def test_an_attacks_folder_is_what_craft_writes_and_evaluate_reads(done: tuple[Path, BenchRun], tmp_path: Path) -> None:
    suite, run = done
    (folder,) = (suite.parent / "run" / "attacks").glob("tiny-linbp-16of255-*")
    # of a shard's images: in float64, a loss may have other last digits in another batch
    config = AttackConfig.resolve("linbp(start=1) + mi", eps="16/255", steps=3, batch_size=4)
    photos = list_images(suite.parent / "photos" / "images.csv")
    crafted = craft_folder(tiny(), photos, tmp_path / "adv", config, trust_labels=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    wanted = json.loads((tmp_path / "adv" / "manifest.json").read_text())
    for one in (manifest, wanted):
        one["settings"]["surrogate"] = one["settings"]["surrogate"]["weights_sha256"]
        del one["runs"]
    assert manifest == wanted
    assert (folder / "records.jsonl").read_bytes() == (tmp_path / "adv" / "records.jsonl").read_bytes()
    assert crafted.made == 10
    found = evaluate_folder(folder, [tiny_chain()], trust_labels=True).evaluations[0].records
    rows = [row for row in run.results.to_pylist() if row["attack"] == folder.name and row["victim"] == "chain"]
    assert [row["adv_prediction"] for row in rows] == [record.adv_prediction for record in found]


def test_run_again_nothing_is_done_and_nothing_is_written(done: tuple[Path, BenchRun]) -> None:
    suite, first = done
    before = files_of(suite.parent / "run")
    again = run_bench(suite, suite.parent / "run")
    assert (again.made, again.kept) == (0, first.made)
    assert files_of(suite.parent / "run") == before


def test_another_run_has_the_same_bytes(done: tuple[Path, BenchRun], tmp_path: Path) -> None:
    suite, _ = done
    run_bench(suite, tmp_path / "other")
    one, other = files_of(suite.parent / "run"), files_of(tmp_path / "other")
    assert one.keys() == other.keys()
    with_times = {"run.json", *(name for name in one if name.endswith("manifest.json"))}
    assert [name for name in one if one[name][1] != other[name][1] and name not in with_times] == []


class Counting:
    """A victim that counts what it is asked."""

    def __init__(self, name: str, model: linbp.Model) -> None:
        self.name, self.model, self.asked = name, model, 0
        self.dtype = model.dtype

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        self.asked += len(images)
        return self.model.logits(images)

    def identity(self) -> dict[str, Any]:
        return {"name": self.name, "kind": "counted"}


def test_a_changed_suite_does_only_what_is_missing_and_scores_nothing_stale(tmp_path: Path) -> None:
    victims = {name: Counting(name, tiny_chain()) for name in ("first", "second")}
    models = {"given:tiny": tiny(), **victims}
    start: dict[str, Any] = {"surrogates": ["given:tiny"], "victims": ["first"], "recipes": {"mi": "mifgsm"}}
    suite = small_suite(tmp_path, **start)
    run_bench(suite, tmp_path / "run", models=models)
    assert victims["first"].asked == 10 + 2 * 10
    images_before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.png")}

    suite = small_suite(
        tmp_path, **{**start, "victims": ["first", "second"], "recipes": {"mi": "mifgsm", "fgsm": "fgsm"}}
    )
    run = run_bench(suite, tmp_path / "run", models=models)
    assert (victims["first"].asked, victims["second"].asked) == (10 + 4 * 10, 10 + 4 * 10)
    assert all(path.stat().st_mtime_ns == time for path, time in images_before.items())
    assert Counter(run.results["recipe"].to_pylist()) == {"mi": 40, "fgsm": 40}

    # Another number of steps makes other attacks; those of before stay, and are not scored.
    suite = small_suite(tmp_path, **{**start, "cost": {"steps": 2}})
    run = run_bench(suite, tmp_path / "run", models=models)
    assert set(run.results["steps"].to_pylist()) == {2}
    assert run.results.num_rows == 20
    assert victims["first"].asked == 10 + 6 * 10

    # The same images under other pixels are other images.
    (tmp_path / "photos" / "003.png").write_bytes((tmp_path / "photos" / "004.png").read_bytes())
    run = run_bench(suite, tmp_path / "run", models=models)
    assert victims["first"].asked == 10 + 6 * 10 + 4 + 2 * 4
    found = {row["image_id"]: row for row in run.results.to_pylist() if row["eps_text"] == "8/255"}
    assert found["i003"]["clean_prediction"] == found["i004"]["clean_prediction"]


def test_selections(tmp_path: Path) -> None:
    models = {"given:tiny": tiny(), "chain": tiny_chain(), "white": tiny()}
    images, labels = images_and_labels(10)
    right = {name: (model.logits(images / 255).argmax(1) == labels).tolist() for name, model in models.items()}
    every = [all(rows) for rows in zip(right["chain"], right["white"], strict=True)]
    wanted = {"none": [True] * 10, "right-on-surrogate": right["given:tiny"], "right-on-every-victim": every}
    change: dict[str, Any] = {"surrogates": ["given:tiny"], "victims": ["chain", "white"], "eps": "8/255"}
    for selection, rows in wanted.items():
        suite = small_suite(tmp_path, selection=selection, **{**change, "recipes": ["mifgsm"]})
        run = run_bench(suite, tmp_path / "run", models=models)
        assert run.results["selected"].to_pylist() == rows * 2
    assert any(any(rows) != all(rows) for rows in wanted.values())


def test_cost_in_gradients_gives_every_recipe_the_steps_it_can_afford(tmp_path: Path) -> None:
    recipes = {"mi": "mifgsm", "vmi": "vmifgsm(neighbours=3)", "fgsm": "fgsm"}
    suite = small_suite(tmp_path, cost={"gradients": 11}, recipes=recipes, eps="16/255", victims=["v"])
    run = run_bench(suite, tmp_path / "run", models={"v": tiny_chain()})
    found = {row["recipe"]: (row["steps"], row["gradients"], row["step_size"]) for row in run.results.to_pylist()}
    assert found["mi"][:2] == (11, 11)
    steps, gradients, step_size = found["vmi"]
    assert 11 - 4 < gradients <= 11
    assert steps * step_size >= 16 / 255
    assert found["fgsm"][:2] == (1, 1)


def test_every_budget_is_a_row_where_it_pays_for_a_step(tmp_path: Path) -> None:
    recipes = {"mi": "mifgsm", "bsr": "bsr(copies=5) + mi", "fgsm": "fgsm"}
    suite = small_suite(tmp_path, cost={"gradients": [2, 11, 12]}, recipes=recipes, eps="16/255", victims=["v"])
    run = run_bench(suite, tmp_path / "run", models={"v": tiny_chain()})
    found = {(row["recipe"], row["steps"], row["gradients"]) for row in run.results.to_pylist()}
    assert {row for row in found if row[0] == "mi"} == {("mi", 2, 2), ("mi", 11, 11), ("mi", 12, 12)}
    assert {row for row in found if row[0] == "bsr"} == {("bsr", 2, 10)}  # 2 pay for no step, 11 and 12 for the same
    assert {row for row in found if row[0] == "fgsm"} == {("fgsm", 1, 1)}  # one step costs one, whatever there is
    lines = rates_of(run.results)
    assert {(line.recipe, line.gradients) for line in lines} == {(name, gradients) for name, _, gradients in found}
    assert max(line.rate.n for line in lines) <= 10  # no image counts once for each budget
    one = small_suite(tmp_path, cost={"gradients": 11}, recipes=recipes, eps="16/255", victims=["v"])
    alone = run_bench(one, tmp_path / "alone", models={"v": tiny_chain()})
    keys = set(alone.results["attack_key"].to_pylist())
    assert keys < set(run.results["attack_key"].to_pylist())  # each budget's attacks are those of a suite of its own


def test_an_ensemble_and_a_rule_of_its_own(tmp_path: Path) -> None:
    networks = tmp_path / "nets.py"
    surrogates = [
        {"name": "both", "members": [f"file:{networks}:tiny", f"file:{networks}:tiny_chain"], "fuse": "losses"},
        {"name": "ruled", "model": f"file:{networks}:tiny", "rule": "linbp(start=1)"},
    ]
    suite = small_suite(tmp_path, surrogates=surrogates, recipes=["mifgsm"], eps="8/255")
    run = run_bench(suite, tmp_path / "run")
    rows = {row["surrogate"]: row for row in run.results.to_pylist()}
    assert rows["both"]["gradients"] == 6
    assert rows["both"]["surrogate_model"].count("file:") == 2
    assert rows["ruled"]["rule"] == "linbp(start=1)"
    images, labels = images_and_labels(10)
    ids = [f"i{number:03}" for number in range(10)]
    adv = linbp.craft(
        linbp.Surrogate(tiny(), rule=linbp.LinBP(start=1)), images, labels, "mifgsm", eps="8/255", steps=3, ids=ids
    )
    found = [
        row["adv_prediction"]
        for row in run.results.to_pylist()
        if (row["surrogate"], row["victim"]) == ("ruled", "chain")
    ]
    assert found == tiny_chain().logits(adv).argmax(1).tolist()


def test_the_group_size_of_a_surrogate_is_that_of_craft(tmp_path: Path) -> None:
    network = f"file:{tmp_path / 'nets.py'}:tiny_single"
    surrogates = [{"name": name, "model": network, **more} for name, more in (("4", {}), ("1", {"group_size": 1}))]
    suite = small_suite(tmp_path, surrogates=surrogates, recipes=["mifgsm"], eps="8/255")
    with (tmp_path / "nets.py").open("a") as file:
        file.write("\n\ndef tiny_single():\n    return tiny(tiny_networks.torch.float32)\n")
    run_bench(suite, tmp_path / "run")
    folders = {name: next((tmp_path / "run" / "attacks").glob(f"{name}-*")) for name in "14"}
    config = AttackConfig.resolve("mifgsm", eps="8/255", steps=3, group_size=1)
    craft_folder(
        linbp.load_model(network), list_images(tmp_path / "photos"), tmp_path / "adv", config, trust_labels=True
    )
    settings = [
        json.loads((folder / "manifest.json").read_text())["settings"]
        for folder in (tmp_path / "adv", folders["1"], folders["4"])
    ]
    assert [one["surrogate"].pop("group_size", None) for one in settings] == [1, 1, 4]
    assert settings[0] == settings[1] == settings[2]


def test_a_compiled_surrogate_is_compiled_for_each_recipe_and_recorded(tmp_path: Path) -> None:
    network = f"file:{tmp_path / 'nets.py'}:tiny"
    surrogates = [{"name": "plain", "model": network}, {"name": "fast", "model": network, "compiled": True}]
    suite = small_suite(tmp_path, images=8, surrogates=surrogates, eps="8/255")
    compiled: list[Any] = []
    with mock.patch("torch.compile", lambda graph, **_: compiled.append(graph) or graph):
        run = run_bench(suite, tmp_path / "run")
    assert len(compiled) == 2 * 2  # forward and backward of two recipes; shards of four images
    rows = {(row["surrogate"], row["recipe"], row["image_id"], row["victim"]): row for row in run.results.to_pylist()}
    for (surrogate, *rest), row in rows.items():
        if surrogate == "fast":  # traced and run as it is written, in float64, it makes the same images
            assert row["adv_prediction"] == rows[("plain", *rest)]["adv_prediction"]
    for name in ("plain", "fast"):
        folder = next((tmp_path / "run" / "attacks").glob(f"{name}-mi-*"))
        settings = json.loads((folder / "manifest.json").read_text())["settings"]
        assert settings["surrogate"].get("compiled", False) is (name == "fast")


def test_every_fault_of_a_suite_is_told_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    suite = small_suite(
        tmp_path,
        recipes={"mi": "mifgsn", "linbp": "linbp(start=99)"},
        eps=["8/255", "300/255"],
        victims={"chain": "file:none.py:net", "onnx": "missing.onnx"},
        data={"kind": "csv", "path": "photos/other.csv"},
    )
    with pytest.raises(SuiteError) as caught:
        run_bench(suite, tmp_path / "run")
    told = " ".join(fault.message for fault in caught.value.faults)
    for word in ("mifgsn", "chain", "missing.onnx", "other.csv", "eps"):
        assert word in told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"recipes": {"far": "linbp(start=99)"}}, "far"),
        ({"cost": {"gradients": 2}, "recipes": ["vmifgsm"]}, "gradients"),
        ({"pool": "photos"}, "pool"),
        ({"recipes": ["linbp(start=auto)"]}, "start"),
        ({"recipes": ["admix-mifgsm"]}, "pool"),
        ({"victims": {"small": "cifar10:vgg19_bn@random"}, "trust_labels": False}, "classes"),
    ],
)
def test_one_fault_is_one_line(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    suite = small_suite(tmp_path, **change)
    with pytest.raises(LinbpError, match=word) as caught:
        run_bench(suite, tmp_path / "run")
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_the_folder_of_another_suite_and_one_of_other_files_are_refused(tmp_path: Path) -> None:
    suite = small_suite(tmp_path, recipes=["mifgsm"], eps="8/255")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"notes\.txt"):
        run_bench(suite, tmp_path / "other")
    run_bench(suite, tmp_path / "run")
    suite = small_suite(tmp_path, name="another")
    with pytest.raises(StoreError, match=r"'small'.*'another'"):
        run_bench(suite, tmp_path / "run")
    assert np.isfinite(BenchRun.open(tmp_path / "run").results["l2"].to_numpy()).all()


def test_a_plan_measures_a_costly_recipe_once_and_on_one_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = small_suite(tmp_path, recipes=["ifgsm", "bsr(copies=6)", "vt(neighbours=2)"], eps=["8/255"])
    asked: list[tuple[str, int]] = []
    plain = measured.craft_batch

    def counted(prepared: Any, config: Any, records: Any, clean: Any, *more: Any) -> Any:
        asked.append((str(config.recipe), len(records)))
        return plain(prepared, config, records, clean, *more)

    monkeypatch.setattr(measured, "craft_batch", counted)
    found = measured.estimate(suite)
    assert {line.recipe: line.gradients for line in found.attacks} == {
        "ifgsm": 3,
        "bsr(copies=6)": 18,
        "vt(neighbours=2)": 7,
    }
    assert Counter(asked) == {("ifgsm", 8): 2, ("bsr(copies=6)", 4): 1, ("vt(neighbours=2)", 8): 2}
    assert found.gradients == 10 * (3 + 18 + 7)
    assert found.seconds > found.asking > 0


def test_tf32_is_what_tasks_run_in_and_part_of_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []
    plain = tasks.craft_batch

    def spying(*given: Any) -> Any:
        found.append(torch.backends.cuda.matmul.fp32_precision)
        return plain(*given)

    monkeypatch.setattr(tasks, "craft_batch", spying)
    before = torch.backends.cuda.matmul.fp32_precision
    names = set()
    for wanted in (True, False, None):
        suite = small_suite(tmp_path, recipes=["ifgsm"], eps=["8/255"], tf32=wanted)
        run = run_bench(suite, tmp_path / f"run-{wanted}")
        names |= {path.name for path in (Path(run.out) / "attacks").iterdir()}
    each = len(found) // 3
    assert found == ["tf32"] * each + ["ieee"] * each + [before] * each
    assert torch.backends.cuda.matmul.fp32_precision == before
    assert len(names) == 3
