"""Folders that `linbp craft` wrote in its first layout: they are evaluated, gone on with, and written anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from resolved_jobs import craft_folder
from torch import nn

from linbp import Model
from linbp.attack.job.adversarial_folder import AdversarialFolder
from linbp.attack.job.report import FolderReport
from linbp.data.image_list import list_images
from linbp.data.images import read_image
from linbp.errors import StoreError
from linbp.evaluation import evaluate_folder

OLD = Path(__file__).parent / "data" / "format-1"
"""Written by the version before layout 2: `finished` and, of the same job, `interrupted` after two of four images."""


@pytest.fixture(scope="module")
def model() -> Model:
    """The network that the folders were made with."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 6)]
        return Model(nn.Sequential(*layers).double(), input_size=(3, 8, 8), name="tiny0")


def copied(kind: str, folder: Path) -> Path:
    return shutil.copytree(OLD / kind, folder / kind)


def resumed(model: Model, folder: Path, **changes: Any) -> FolderReport:
    options = {"eps": 6 / 255, "steps": 4, "step_size": "1/255", "batch_size": 2, "trust_labels": True, **changes}
    return craft_folder(model, list_images(OLD / "clean"), folder, "pgd + mi", **options)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def test_the_fixture_is_of_the_first_layout() -> None:
    for kind, count in (("finished", 4), ("interrupted", 2)):
        assert json.loads((OLD / kind / "manifest.json").read_text())["format"] == 1
        assert [{"prediction_twin", "loss_twin"} <= row.keys() for row in rows(OLD / kind)] == [True] * count


def test_an_old_folder_is_evaluated_as_it_is(model: Model, tmp_path: Path) -> None:
    folder = copied("finished", tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    found = evaluate_folder(folder, [model], data=OLD / "clean", trust_labels=True)
    old = rows(OLD / "finished")
    (evaluation,) = found.evaluations
    assert [record.adv_prediction for record in evaluation.records] == [row["prediction_twin"] for row in old]
    assert [record.clean_prediction for record in evaluation.records] == [row["prediction_clean"] for row in old]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_old_folder_is_gone_on_with_and_written_in_the_new_layout(model: Model, tmp_path: Path) -> None:
    folder = copied("interrupted", tmp_path)
    report = resumed(model, folder)
    assert (report.made, report.kept) == (2, 2)
    assert json.loads((folder / "manifest.json").read_text())["format"] == 2
    old = rows(OLD / "finished")
    for row, wanted in zip(rows(folder), old, strict=True):
        assert row["sha256"] == wanted["sha256"]
        assert (row["prediction_adv"], row["loss_adv"]) == (wanted["prediction_twin"], wanted["loss_twin"])
        assert not [name for name in row if "twin" in name]
        name = f"{row['image_id']}.png"
        assert np.array_equal(read_image(folder / name), read_image(OLD / "finished" / name))
    assert [run["kept"] for run in report.manifest["runs"]] == [0, 2]


def test_an_old_folder_that_is_finished_gets_the_new_layout_too(model: Model, tmp_path: Path) -> None:
    folder = copied("finished", tmp_path)
    report = resumed(model, folder)
    assert (report.made, report.kept) == (0, 4)
    assert report.summary()["images"] == 4
    assert json.loads((folder / "manifest.json").read_text())["format"] == 2
    assert all("prediction_adv" in row for row in rows(folder))


def test_other_settings_are_refused_in_an_old_folder_too(model: Model, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="seed: 0 -> 1"):
        resumed(model, copied("interrupted", tmp_path), seed=1)


def test_an_end_while_the_layout_is_changed_loses_nothing(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied("interrupted", tmp_path)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(AdversarialFolder, "write_manifest", stop)
        with pytest.raises(KeyboardInterrupt):
            resumed(model, folder)
    assert json.loads((folder / "manifest.json").read_text())["format"] == 1
    assert resumed(model, folder).kept == 2
