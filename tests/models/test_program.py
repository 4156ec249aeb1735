"""Exported programs: `.pt2` files as surrogates and victims."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import Dim

from linbp.errors import ModelError
from linbp.models import Model, load_model, weights_sha256


class Network(nn.Module):
    """Small, with everything that export fixes: dropout and batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.layers(x).mean((2, 3)))
        return logits


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return Network().eval()


def export(network: nn.Module, path: Path, shape: tuple[int, ...] = (2, 3, 12, 12), *, dims: object = None) -> Path:
    program = torch.export.export(network, (torch.rand(shape),), dynamic_shapes=None if dims is None else (dims,))
    torch.export.save(program, path)
    return path


def load(path: Path) -> Model:
    model = load_model(str(path))
    assert isinstance(model, Model)
    return model


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_dynamic_batch_runs_as_the_module(network: nn.Module, tmp_path: Path, count: int) -> None:
    model = load(export(network, tmp_path / "net.pt2", dims={0: Dim.AUTO}))
    images = torch.rand(count, 3, 12, 12)
    torch.testing.assert_close(model.logits(images), network(images))
    assert model.dynamic_batch
    assert model.program is not None
    assert model.input_size == (3, 12, 12)
    assert model.name == "net.pt2"


def test_its_identity_is_that_of_the_weights(network: nn.Module, tmp_path: Path) -> None:
    path = export(network, tmp_path / "net.pt2", dims={0: Dim.AUTO})
    identity = load(path).identity()
    assert identity == load(path).identity()
    assert identity["weights_sha256"] == weights_sha256(network.state_dict())
    assert len(identity["file_sha256"]) == 64


def test_it_moves_to_another_dtype_and_gives_gradients(network: nn.Module, tmp_path: Path) -> None:
    model = load(export(network, tmp_path / "net.pt2", dims={0: Dim.AUTO})).double()
    images = torch.rand(3, 3, 12, 12, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(model(images).logsumexp(1).sum(), images)
    (expected,) = torch.autograd.grad(network.double()(images).logsumexp(1).sum(), images)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_a_fixed_batch_runs_in_chunks(network: nn.Module, tmp_path: Path, count: int) -> None:
    model = load(export(network, tmp_path / "net.pt2", (4, 3, 12, 12)))
    images = torch.rand(count, 3, 12, 12)
    torch.testing.assert_close(model.logits(images), network(images))
    assert not model.dynamic_batch


def test_a_bounded_batch_runs_in_chunks(network: nn.Module, tmp_path: Path) -> None:
    model = load(export(network, tmp_path / "net.pt2", (4, 3, 12, 12), dims={0: Dim("batch", min=3, max=5)}))
    for count in (1, 4, 11):
        images = torch.rand(count, 3, 12, 12)
        torch.testing.assert_close(model.logits(images), network(images))


def test_the_file_beside_it_gives_the_preprocessing(network: nn.Module, tmp_path: Path) -> None:
    path = export(network, tmp_path / "net.pt2", dims={0: Dim.AUTO})
    fields = {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.5, 1], "interpolation": "bicubic", "classes": list("abcde")}
    path.with_suffix(".json").write_text(json.dumps(fields))
    model = load(path)
    images = torch.rand(2, 3, 12, 12)
    shift, scale = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.25, 0.5, 1])
    expected = network((images - shift[:, None, None]) / scale[:, None, None])
    torch.testing.assert_close(model.logits(images), expected)
    assert model.class_names == tuple("abcde")
    assert model.interpolation == "bicubic"


def test_dynamic_sides_take_their_size_from_the_example_or_the_file_beside_it(
    network: nn.Module, tmp_path: Path
) -> None:
    dims = {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}
    path = export(network, tmp_path / "net.pt2", (2, 3, 12, 14), dims=dims)
    assert load(path).input_size == (3, 12, 14)
    path.with_suffix(".json").write_text('{"input_size": [3, 20, 20]}')
    assert load(path).logits(torch.rand(2, 3, 40, 40)).shape == (2, 5)
    assert load(path).input_size == (3, 20, 20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable as JSON"),
        ("[]", "holds a list"),
        ('{"means": [0, 0, 0]}', "unknown field 'means'"),
        ('{"mean": [true, 0, 0]}', "mean is"),
        ('{"input_size": [3, 8.5, 8]}', "input_size is"),
        ('{"input_size": [3, 8]}', "input_size is"),
        ('{"std": [0.5]}', "not fit 3 channels"),
        ('{"interpolation": "area"}', "area"),
    ],
)
def test_a_wrong_file_beside_it(network: nn.Module, tmp_path: Path, text: str, message: str) -> None:
    path = export(network, tmp_path / "net.pt2", dims={0: Dim.AUTO})
    path.with_suffix(".json").write_text(text)
    with pytest.raises(ModelError) as caught:
        load(path)
    assert message in caught.value.message


class TwoInputs(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y


def test_other_inputs_are_refused(tmp_path: Path) -> None:
    one = torch.rand(2, 3)
    torch.export.save(torch.export.export(TwoInputs(), (one, one)), tmp_path / "two.pt2")
    with pytest.raises(ModelError, match="2 inputs"):
        load(tmp_path / "two.pt2")
    torch.export.save(torch.export.export(nn.Linear(3, 2), (one,)), tmp_path / "flat.pt2")
    with pytest.raises(ModelError, match=r"flat\.pt2"):
        load(tmp_path / "flat.pt2")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04"])
def test_broken_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.pt2").write_bytes(content)
    with pytest.raises(ModelError, match=r"net\.pt2") as caught:
        load(tmp_path / "net.pt2")
    assert "torch.export.save" in caught.value.hint


def test_a_checkpoint_under_this_name_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "net.pt2")
    with pytest.raises(ModelError, match=r"net\.pt2"):
        load(tmp_path / "net.pt2")


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "entry", ["data/sample_inputs/model.pt", "data/weights/weight_0", "data/constants/opaque_obj_0"]
)
def test_a_program_that_would_run_code_is_refused(network: nn.Module, tmp_path: Path, entry: str) -> None:
    mark = tmp_path / "touched"
    good = export(network, tmp_path / "good.pt2", dims={0: Dim.AUTO})
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(tmp_path / "net.pt2", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(entry):
                continue
            if "weights" in entry and name.endswith("model_weights_config.json"):
                content = content.replace(b'"use_pickle": false', b'"use_pickle": true', 1)
            new.writestr(name, content)
        top = old.namelist()[0].partition("/")[0]
        torch.save(Touch(mark), tmp_path / "evil.pt")
        plain = entry.endswith("obj_0")
        evil = pickle.dumps(Touch(mark)) if plain else (tmp_path / "evil.pt").read_bytes()
        new.writestr(f"{top}/{entry}", evil)
    with pytest.raises(ModelError, match="refused"):
        load(tmp_path / "net.pt2")
    assert not mark.exists()


def test_a_program_with_a_compiled_library_is_refused(network: nn.Module, tmp_path: Path) -> None:
    path = export(network, tmp_path / "net.pt2", dims={0: Dim.AUTO})
    with zipfile.ZipFile(path, "a") as archive:
        top = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{top}/data/aotinductor/model/net.so", b"\x7fELF")
    with pytest.raises(ModelError, match="refused"):
        load(path)
