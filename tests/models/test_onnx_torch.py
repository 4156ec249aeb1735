"""ONNX files as surrogates: gradients of the network they were exported from, or a refusal."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from pathlib import Path

import onnx
import pytest
import timm
import torch
from onnx import TensorProto, helper
from torch import nn

import linbp
from linbp.attack.named_surrogates import load_surrogate
from linbp.errors import ModelError
from linbp.models import Model, OnnxModel, load_model

onnx2pytorch = pytest.importorskip("onnx2pytorch", reason="needs Python 3.11")


class Residual(nn.Module):
    """Convolutions with batch norms, a residual block, a flatten that knows the batch size, and logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.branch, self.last = nn.Conv2d(6, 6, 3, padding=1, groups=2), nn.Linear(6 * 16, 7)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(images)))
        x = nn.functional.max_pool2d(torch.relu(self.branch(x)) + x, 4)
        return self.last(x.reshape(x.shape[0], -1))


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "residual":
        network = Residual()
        nn.init.uniform_(network.norm.running_mean, -0.2, 0.2)
        return network.eval()
    options = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2, "num_classes": 7}
    return timm.create_model("vit_tiny_patch16_224", **options).eval()


def export(network: nn.Module, path: Path, dynamo: bool) -> None:
    """Write a network with a free batch, by the exporter of today or by that of TorchScript."""
    images = torch.rand(2, 3, 16, 16)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        if dynamo:
            free = ({0: torch.export.Dim("batch")},)
            torch.onnx.export(network, (images,), path, dynamo=True, external_data=False, dynamic_shapes=free)
        else:
            torch.onnx.export(network, (images,), path, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize("name", ["residual", "vit"])
def test_gradients_are_those_of_the_network_that_was_exported(tmp_path: Path, name: str, dynamo: bool) -> None:
    network = build(name)
    export(network, tmp_path / "net.onnx", dynamo)
    fields = {"mean": [0.4, 0.5, 0.6], "std": 0.25, "classes": list("abcdefg")}
    (tmp_path / "net.json").write_text(json.dumps(fields))
    assert isinstance(load_model(tmp_path / "net.onnx"), OnnxModel)
    model = load_surrogate(str(tmp_path / "net.onnx"))
    original = Model(network, input_size=16, mean=(0.4, 0.5, 0.6), std=0.25)
    images, labels = torch.rand(5, 3, 20, 18), torch.arange(5)
    torch.testing.assert_close(model.logits(images), original.logits(images), rtol=1e-4, atol=1e-5)
    found = linbp.Surrogate(model, linbp.LinBP(start=0.0), cache=False).gradient(images, labels)
    expected = linbp.Surrogate(original, linbp.LinBP(start=0.0), cache=False).gradient(images, labels)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    assert model.class_names == tuple("abcdefg")
    assert model.identity()["converted_by"].startswith("onnx2pytorch ")
    assert model.identity()["file_sha256"] == load_model(tmp_path / "net.onnx").identity()["file_sha256"]


def write(path: Path, nodes: list[onnx.NodeProto], shape: list[int | str], kind: int = TensorProto.FLOAT) -> None:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def test_channels_last_and_several_outputs(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Flatten", ["r"], ["y"])]
    write(tmp_path / "net.onnx", nodes, ["n", 4, 5, 3])
    model = load_model(f"onnx-torch:{tmp_path / 'net.onnx'}")
    assert isinstance(model, Model)
    images = torch.rand(3, 3, 4, 5)
    torch.testing.assert_close(model.logits(images), images.permute(0, 2, 3, 1).flatten(1))


def test_what_has_no_gradients_is_told(tmp_path: Path) -> None:
    flat = [helper.make_node("Flatten", ["x"], ["y"])]
    write(tmp_path / "free.onnx", flat, ["n", 3, "h", "w"])
    with pytest.raises(ModelError, match="images of any size"):
        load_surrogate(str(tmp_path / "free.onnx"))
    cast = [helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT), helper.make_node("Flatten", ["c"], ["y"])]
    write(tmp_path / "levels.onnx", cast, ["n", 3, 4, 4], TensorProto.UINT8)
    with pytest.raises(ModelError, match="whole levels"):
        load_surrogate(str(tmp_path / "levels.onnx"))


def test_other_logits_than_in_onnxruntime_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "net.onnx", [helper.make_node("Flatten", ["x"], ["y"])], ["n", 3, 4, 4])

    class Wrong(nn.Module):
        def __init__(self, proto: object) -> None:
            super().__init__()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1) * 1.001

    monkeypatch.setattr(onnx2pytorch, "ConvertModel", Wrong)
    with pytest.raises(ModelError, match=r"other logits than in onnxruntime, by \d\.\de-0[34]"):
        load_surrogate(str(tmp_path / "net.onnx"))


class Growing(nn.Module):
    def __init__(self, proto: object) -> None:
        super().__init__()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        flat = images.flatten(1)
        return flat.cumsum(0) if len(flat) == 3 else flat


def test_a_network_that_is_not_one_graph_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "net.onnx", [helper.make_node("Flatten", ["x"], ["y"])], ["n", 3, 4, 4])
    monkeypatch.setattr(onnx2pytorch, "ConvertModel", Growing)
    with pytest.raises(ModelError, match="other operations with other batch sizes"):
        load_surrogate(str(tmp_path / "net.onnx"))
