"""Weights from files: what is read, what is refused, and what the refusal says."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn

from linbp.errors import ModelError
from linbp.models import Model, load_model
from linbp.models.checkpoint import fill, read_checkpoint

STATE = OrderedDict(weight=torch.arange(6.0).view(2, 3), bias=torch.ones(2))


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3},
        {"model": STATE},
        {f"module.{name}": value for name, value in STATE.items()},
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_state_dicts_are_found(tmp_path: Path, content: object, legacy: bool) -> None:
    torch.save(content, tmp_path / "net.pth", _use_new_zipfile_serialization=not legacy)
    found = read_checkpoint(tmp_path / "net.pth")
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_safetensors_are_read(tmp_path: Path) -> None:
    safetensors.torch.save_file(dict(STATE), tmp_path / "net.safetensors")
    assert torch.equal(read_checkpoint(tmp_path / "net.safetensors")["weight"], STATE["weight"])


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "touched"
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Touch(mark)))
    torch.save(Touch(mark), tmp_path / "zip.pth")
    torch.save({"state_dict": STATE, "more": Touch(mark)}, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    for name in ("plain.pkl", "zip.pth", "legacy.pt"):
        with pytest.raises(ModelError, match="refused"):
            load_model(f"torchvision:resnet18@{tmp_path / name}")
        assert not mark.exists()
    pickle.loads((tmp_path / "plain.pkl").read_bytes())
    assert mark.exists(), "the pickle is harmless, so that the test shows nothing"


def test_a_whole_pickled_network_is_refused_by_its_class(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "net.pth")
    with pytest.raises(ModelError, match=r"torch\.nn\.modules\.linear\.Linear") as caught:
        read_checkpoint(tmp_path / "net.pth")
    assert "state_dict" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("net.pth", b"", "net.pth"),
        ("net.pth", b"no pickle at all", "net.pth"),
        ("net.pth", b"PK\x03\x04 half a zip", "net.pth"),
        ("net.safetensors", b"\x00", "net.safetensors"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        read_checkpoint(tmp_path / name)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("content", [torch.ones(3), {"epoch": 3}, [], {}, {3: torch.ones(1)}])
def test_files_without_a_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(ModelError, match="state dict"):
        read_checkpoint(tmp_path / "net.pth")


def test_other_kinds_of_file_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", weight=np.ones(3))
    with pytest.raises(ModelError, match=r"net\.npz"):
        read_checkpoint(tmp_path / "net.npz")
    with pytest.raises(ModelError, match="folder"):
        read_checkpoint(tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_is_refused_with_the_reason(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), buffer)
    (tmp_path / "net.pt").write_bytes(buffer.getvalue())
    with pytest.raises(ModelError, match="TorchScript"):
        read_checkpoint(tmp_path / "net.pt")


def test_what_does_not_fit_is_listed() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    state = network.state_dict()
    state["0.weight"] = torch.ones(5, 3)
    state["extra"] = state.pop("1.running_mean")
    with pytest.raises(ModelError) as caught:
        fill(network, state, "net.pth")
    for words in (
        "net.pth",
        "Sequential",
        "7",
        "1 missing (1.running_mean)",
        "(extra)",
        "0.weight",
        "(5, 3)",
        "(2, 3)",
    ):
        assert words in caught.value.message


def test_counters_of_batch_norms_may_be_missing() -> None:
    network = nn.BatchNorm1d(2)
    fill(network, {name: value + 1 for name, value in network.state_dict().items() if "num" not in name}, "net.pth")
    assert network.running_mean is not None
    assert network.running_mean.tolist() == [1, 1]


def test_a_checkpoint_of_another_network_is_one_line(tmp_path: Path) -> None:
    torch.save(torchvision.models.squeezenet1_0().state_dict(), tmp_path / "net.pth")
    with pytest.raises(ModelError, match="SqueezeNet") as caught:
        load_model(f"torchvision:squeezenet1_1@{tmp_path / 'net.pth'}")
    assert len(caught.value.message) < 600


def test_half_precision_files_fill_a_float_network(tmp_path: Path) -> None:
    state = {name: value.half() for name, value in torchvision.models.squeezenet1_1().state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "net.safetensors")
    model = load_model(f"torchvision:squeezenet1_1@{tmp_path / 'net.safetensors'}")
    assert isinstance(model, Model)
    assert model.dtype == torch.float32
    assert torch.equal(model.module.state_dict()["features.0.bias"], state["features.0.bias"].float())
