"""Against a real MLServer: the same numbers as from the file itself, over REST and over gRPC."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlserver_process import MlServer, mlserver
from PIL import Image
from torch import nn

import linbp
from linbp.data.image_list import list_images
from linbp.data.images import read_image
from linbp.errors import ModelError
from linbp.models import load_model
from linbp.training.substitute import Tuning, make_substitute

SIDE, CLASSES = 12, 7
SETTINGS = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
NAMES = [f"class {number}" for number in range(CLASSES)]


class Net(nn.Module):
    """A small network with random weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(32, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.layers(images))
        return logits


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file with its sidecar."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("network") / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Net().eval(),
            (torch.zeros(2, 3, SIDE, SIDE),),
            place,
            dynamo=False,
            input_names=["images"],
            output_names=["scores"],
            dynamic_axes={"images": {0: "n"}, "scores": {0: "n"}},
        )
    place.with_suffix(".json").write_text(json.dumps(SETTINGS))
    return place


@pytest.fixture(scope="module")
def server(network: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlServer]:
    """MLServer with that network under several names, each with other answers and metadata."""
    images = [{"name": "images", "datatype": "FP32", "shape": [-1, 3, SIDE, SIDE]}]
    scores = [{"name": "scores", "datatype": "FP32", "shape": [-1, CLASSES]}]
    models: dict[str, dict[str, Any]] = {
        "told": {"inputs": images, "outputs": scores},
        "untold": {},
        "labels": {"answers": "labels", "inputs": images},
        "names": {"answers": "names", "inputs": images},
        "best": {"answers": "top-k", "inputs": images},
    }
    with mlserver(
        tmp_path_factory.mktemp("mlserver"), {name: {"uri": network, **given} for name, given in models.items()}
    ) as running:
        yield running


def photographs(count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (count, 3, SIDE + 4, SIDE), dtype=np.uint8)


def side(folder: Path, **fields: Any) -> str:
    file = folder / "side.json"
    file.write_text(json.dumps(fields))
    return f"@{file}"


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_served_network_answers_as_its_file_does(
    server: MlServer, network: Path, tmp_path: Path, scheme: str
) -> None:
    images = torch.from_numpy(photographs(5)).float() / 255
    wanted = load_model(network).logits(images)
    untold = {"input": "images", "dtype": "FP32", "layout": "NCHW", "input_size": [3, SIDE, SIDE], "batch": 2}
    for model, fields in (("told", {}), ("untold", {**untold, "output": "scores", "concurrency": 2})):
        served = load_model(server.name(model, scheme) + side(tmp_path, **SETTINGS, **fields))
        torch.testing.assert_close(served.logits(images), wanted, rtol=1e-5, atol=1e-6)
        facts = served.identity()
        assert (facts["model"], facts["server"]["name"]) == (model, "mlserver")


@pytest.mark.parametrize("scheme", ["http", "grpc"])
@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("labels", {"answers": "labels", "classes": CLASSES}),
        ("names", {"answers": "labels", "classes": NAMES}),
        ("best", {"answers": "top-k", "classes": CLASSES, "output": ["classes", "scores"]}),
    ],
)
def test_labels_and_the_best_few_give_the_same_success(
    server: MlServer, network: Path, tmp_path: Path, scheme: str, model: str, fields: dict[str, Any]
) -> None:
    clean = photographs(20)
    adv = photographs(40)[20:]
    labels = load_model(network).logits(torch.from_numpy(clean).float() / 255).argmax(1).numpy()
    wanted = linbp.evaluate(str(network), clean, adv, labels)
    found = linbp.evaluate(server.name(model, scheme) + side(tmp_path, **SETTINGS, **fields), clean, adv, labels)
    assert found.records == wanted.records
    assert wanted.statistics.fooled.successes > 0
    assert any("success needs no more" in note for note in found.notes)
    assert not any("two or more best classes" in note or "probabilities" in note for note in found.notes)


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_what_the_server_does_not_say_must_be_written(server: MlServer, tmp_path: Path, scheme: str) -> None:
    with pytest.raises(ModelError) as error:
        load_model(server.name("untold", scheme))
    assert '"input": "NAME"' in error.value.hint
    with pytest.raises(ModelError, match=r"nothing.*404|nothing.*NOT_FOUND"):
        load_model(server.name("nothing", scheme))
    model = load_model(server.name("told", scheme) + side(tmp_path, **SETTINGS, output="scores"))
    assert model.input_size == (3, SIDE, SIDE)


def test_its_answers_train_the_substitute_that_the_files_answers_train(
    server: MlServer, network: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for row, pixels in enumerate(photographs(12)):
        Image.fromarray(pixels.transpose(1, 2, 0)).save(tmp_path / "photos" / f"{row}.png")
    torch.manual_seed(1)
    backbone = linbp.Model(Net(), input_size=SIDE)
    results = []
    for number, victim in enumerate((str(network), server.name("told") + side(tmp_path, **SETTINGS))):
        place = tmp_path / str(number)
        tuning = Tuning(epochs=2, batch_size=4)
        report = make_substitute(load_model(victim), backbone, list_images(tmp_path / "photos"), place, tuning=tuning)
        results.append((report.manifest["result"], report.agreement, report.manifest["answers"]))
    assert results[0] == results[1]
    assert len(results[0][2]) > 1, "one class teaches nothing"


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_network_of_others_behind_a_server(shared: Path, tmp_path: Path, scheme: str) -> None:
    """MobileNet v1 on photographs: the same classes from the server as from onnxruntime in this process."""
    file = shared.resolve() / "models" / "mobilenetv1_075_tf1.onnx"
    local = load_model(file)
    name = local.input.name  # type: ignore[union-attr]
    with mlserver(tmp_path, {"mobilenet": {"uri": file}}) as running:
        layout = "NHWC" if local.input.channels_last else "NCHW"  # type: ignore[union-attr]
        fields = {"input": name, "dtype": "FP32", "layout": layout, "input_size": [3, 224, 224], "batch": 1}
        served = load_model(running.name("mobilenet", scheme) + side(tmp_path, **fields))
        pictures = sorted((shared / "data").rglob("*.jp*g"))[:4]
        for picture in pictures:
            pixels = torch.from_numpy(read_image(picture).copy()).permute(2, 0, 1)[None, :, :224, :224].float() / 255
            torch.testing.assert_close(served.logits(pixels), local.logits(pixels), rtol=1e-4, atol=1e-4)
