"""torchvision and timm: published weights, checkpoints, untrained networks, and what goes wrong with them."""

from __future__ import annotations

import random
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision

from linbp.errors import ModelError
from linbp.models import Model, load_model

SQUEEZENET = "squeezenet1_1-b8a52dc0.pth"


def load_torch_model(spec: str) -> Model:
    model = load_model(spec)
    assert isinstance(model, Model)
    return model


def states() -> tuple[object, ...]:
    return torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A torch cache of one's own; what is not in it cannot be downloaded."""

    def no_network(url: str, *_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_torchvision_weights_come_with_their_preprocessing(torch_home: Path) -> None:
    torch.manual_seed(3)
    original = torchvision.models.squeezenet1_1().eval()
    torch.save(original.state_dict(), torch_home / SQUEEZENET)
    before = states()
    model = load_torch_model("torchvision:squeezenet1_1@IMAGENET1K_V1")
    assert states() == before
    images = torch.rand(2, 3, 224, 224)
    preset = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1.transforms()
    pipeline = torchvision.transforms.functional.normalize(images, preset.mean, preset.std)
    with torch.no_grad():
        torch.testing.assert_close(model.logits(images), original(pipeline), rtol=1e-5, atol=1e-5)
    identity = model.identity()
    assert identity["weights"] == "IMAGENET1K_V1"
    assert identity["name"] == identity["spec"] == "torchvision:squeezenet1_1@IMAGENET1K_V1"
    assert len(identity["file_sha256"]) == len(identity["weights_sha256"]) == 64
    assert model.input_size == (3, 224, 224)
    assert model.class_names[243] == "bull mastiff"
    again = load_torch_model(f"torchvision:squeezenet1_1@{torch_home / SQUEEZENET}")
    assert again.identity()["weights_sha256"] == identity["weights_sha256"]


def test_weights_of_another_size_keep_it() -> None:
    model = load_torch_model("torchvision:efficientnet_b1@random")
    preset = torchvision.models.EfficientNet_B1_Weights.IMAGENET1K_V1.transforms()
    assert model.input_size == (3, preset.crop_size[0], preset.crop_size[0]) == (3, 240, 240)
    assert model.interpolation == preset.interpolation.value == "bicubic"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
def test_inception_is_normalised_once(name: str) -> None:
    model = load_torch_model(f"torchvision:{name}@random").double()
    options = {"transform_input": True, "aux_logits": False, "init_weights": False}
    original = torchvision.models.get_model(name, weights=None, **options).eval().double()
    original.load_state_dict(model.module.state_dict())
    preset = torchvision.models.get_model_weights(name).IMAGENET1K_V1.transforms()
    size = preset.crop_size[0]
    images = torch.rand(2, 3, size, size, dtype=torch.float64)
    normalised = torchvision.transforms.functional.normalize(images, preset.mean, preset.std)
    with torch.no_grad():
        torch.testing.assert_close(model.logits(images), original(normalised), rtol=1e-9, atol=1e-9)
    assert model.input_size == (3, size, size)
    assert model.mean == model.std == (0.5, 0.5, 0.5)


@pytest.mark.slow
def test_published_googlenet_is_normalised_once_and_loses_its_heads(torch_home: Path) -> None:
    original = torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=True)
    file = Path(torchvision.models.GoogLeNet_Weights.IMAGENET1K_V1.url).name
    torch.save(original.state_dict(), torch_home / file)
    published = load_torch_model("torchvision:googlenet@IMAGENET1K_V1")
    own = load_torch_model(f"torchvision:googlenet@{torch_home / file}")
    images = torch.rand(1, 3, 224, 224)
    torch.testing.assert_close(published.logits(images), own.logits(images), rtol=0, atol=0)
    assert published.mean == (0.5, 0.5, 0.5)
    assert published.module.transform_input is False


def test_old_names_of_densenet_fit(tmp_path: Path) -> None:
    state = torchvision.models.densenet121().state_dict()
    old = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2.") if "denselayer" in key else key: value
        for key, value in state.items()
    }
    assert old.keys() != state.keys()
    torch.save(old, tmp_path / "densenet.pth")
    model = load_torch_model(f"torchvision:densenet121@{tmp_path / 'densenet.pth'}")
    assert all(torch.equal(state[key], value) for key, value in model.module.state_dict().items())


@pytest.mark.parametrize("spec", ["torchvision:squeezenet1_1@random", "timm:test_vit@random"])
def test_random_weights_are_the_same_each_time(spec: str) -> None:
    before = states()
    first = load_torch_model(spec)
    assert states() == before
    torch.rand(7)
    second = load_torch_model(spec)
    assert first.identity() == second.identity()
    assert first.identity()["weights"] == "random, seed 0"


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        (
            "torchvision:resnet50",
            "Which weights",
            "torchvision:resnet50@IMAGENET1K_V1, torchvision:resnet50@IMAGENET1K_V2",
        ),
        ("torchvision:resnet50@DEFAULT", "'DEFAULT'", "IMAGENET1K_V2"),
        ("torchvision:resnet50@V1", "'V1'", "IMAGENET1K_V1"),
        ("torchvision:resnet5@IMAGENET1K_V1", "'resnet5'", "'resnet50'"),
        ("torchvision:fasterrcnn_resnet50_fpn@COCO_V1", "no classifier", "Known"),
        ("timm:resnet50", "Which weights", "timm:resnet50.a1_in1k"),
        ("timm:resnet50.imagenet", "'imagenet'", "timm:resnet50.a1_in1k"),
        ("timm:resnet5O.a1_in1k", "'resnet5O'", "resnet50"),
        ("timm:resnet50@a1_in1k", "timm:resnet50@a1_in1k", "timm:resnet50."),
        ("torchvison:resnet50@IMAGENET1K_V1", "torchvison", "'torchvision'"),
        ("resnet50", "resnet50", "torchvision:resnet50@IMAGENET1K_V1"),
        ("weights/net.pth", "weights/net.pth", "network"),
        ("demo:squeezenet", "demo:squeezenet", "'squeezenet1_1'"),
        ("torchvision:resnet18@missing/net.pth", "'missing/net.pth'", "path"),
        ("missing.onnx", "'missing.onnx'", "path"),
        ("missing.pt2", "'missing.pt2'", "path"),
    ],
)
def test_what_is_not_there_is_named(spec: str, message: str, hint: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(spec)
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert hint in caught.value.hint


def test_without_a_network_the_hint_says_where_the_file_goes(torch_home: Path) -> None:
    with pytest.raises(ModelError, match="no network") as caught:
        load_model("torchvision:squeezenet1_1@IMAGENET1K_V1")
    assert str(torch_home / SQUEEZENET) in caught.value.hint
    assert f"https://download.pytorch.org/models/{SQUEEZENET}" in caught.value.hint


def test_a_cached_file_that_would_run_code_is_refused(torch_home: Path, tmp_path: Path) -> None:
    torch.save({"features.0.weight": Touch(tmp_path / "touched")}, torch_home / SQUEEZENET)
    with pytest.raises(ModelError, match="Python code"):
        load_model("torchvision:squeezenet1_1@IMAGENET1K_V1")
    assert not (tmp_path / "touched").exists()


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_timm_weights_come_with_their_preprocessing(tmp_path: Path) -> None:
    torch.manual_seed(1)
    original = timm.create_model("test_resnet").eval()
    safetensors.torch.save_file(original.state_dict(), tmp_path / "net.safetensors")
    model = load_torch_model(f"timm:test_resnet@{tmp_path / 'net.safetensors'}")
    config = timm.data.resolve_data_config({}, model=original)
    transform = torchvision.transforms.Normalize(config["mean"], config["std"])
    images = torch.rand(2, *config["input_size"])
    with torch.no_grad():
        torch.testing.assert_close(model.logits(images), original(transform(images)), rtol=1e-5, atol=1e-5)
    assert model.input_size == config["input_size"]
    assert model.name == "timm:test_resnet@net.safetensors"


def test_timm_tag_builds_with_published_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is replaced by a function that gives a state dict: timm's own loading runs on it."""
    state = timm.create_model("test_resnet").state_dict()
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *_, **__: dict(state))
    model = load_torch_model("timm:test_resnet.r160_in1k")
    assert model.identity()["weights"] == "r160_in1k"
    assert torch.equal(model.module.state_dict()["conv1.0.weight"], state["conv1.0.weight"])


def test_timm_without_a_network_says_where_to_get_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network\nand more lines")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", no_network)
    with pytest.raises(ModelError, match="no network") as caught:
        load_model("timm:test_resnet.r160_in1k")
    assert "timm:test_resnet.r160_in1k@path/to/model.safetensors" in caught.value.hint


def test_the_hub_itself_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="fetched"):
        load_model("timm:test_resnet.r160_in1k")
