"""ONNX files: victims that answer as the module they were exported from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from linbp.errors import ModelError
from linbp.models import OnnxModel, load_model

Shape = list[int | str | None]

SHARED = Path(__file__).parents[2] / ".." / "shared" / "models" / "mobilenetv1_075_tf1.onnx"


def write(
    path: Path,
    shape: Shape,
    *,
    outputs: tuple[str, ...] = ("scores",),
    dtype: int = TensorProto.FLOAT,
    axes: tuple[int, int] = (2, 3),
) -> torch.Tensor:
    """An ONNX file that averages over pixels and multiplies by a matrix, which is returned (3, 5)."""
    matrix = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32))
    kind = {TensorProto.FLOAT16: np.float16, TensorProto.DOUBLE: np.float64}.get(dtype, np.float32)
    levels = dtype == TensorProto.UINT8
    nodes = [
        *([helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT)] if levels else []),
        helper.make_node("ReduceMean", ["floats" if levels else "image", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "matrix"], [outputs[0]]),
        *(helper.make_node("Identity", ["means"], [name]) for name in outputs[1:]),
    ]
    weights = [
        numpy_helper.from_array(np.array(axes), "axes"),
        numpy_helper.from_array(matrix.numpy().astype(kind), "matrix"),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("image", dtype, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT if levels else dtype, None) for name in outputs],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return matrix


def load(path: Path) -> OnnxModel:
    model = load_model(str(path))
    assert isinstance(model, OnnxModel)
    return model


@pytest.mark.parametrize("shape", [["N", 3, 12, 12], [None, 3, 12, 12], [4, 3, 12, 12], [1, 3, 12, 12]])
@pytest.mark.parametrize("count", [1, 4, 9])
def test_logits_for_every_kind_of_batch(tmp_path: Path, shape: Shape, count: int) -> None:
    matrix = write(tmp_path / "net.onnx", shape)
    model = load(tmp_path / "net.onnx")
    images = torch.rand(count, 3, 12, 12)
    torch.testing.assert_close(model.logits(images), images.mean((2, 3)) @ matrix)
    assert model.input_size == (3, 12, 12)
    assert (model.differentiable, model.name, model.dtype) == (False, "net.onnx", torch.float32)


def test_another_size_is_resized_and_a_free_size_is_not(tmp_path: Path) -> None:
    matrix = write(tmp_path / "fixed.onnx", ["N", 3, 12, 12])
    write(tmp_path / "free.onnx", ["N", 3, "H", "W"])
    images = torch.rand(2, 3, 24, 30)
    small = nn.functional.interpolate(images, size=(12, 12), mode="bilinear", antialias=True)
    torch.testing.assert_close(load(tmp_path / "fixed.onnx").logits(images), small.mean((2, 3)) @ matrix)
    free = load(tmp_path / "free.onnx")
    torch.testing.assert_close(free.logits(images), images.mean((2, 3)) @ matrix)
    assert free.input_size is None
    assert free.identity()["input_size"] is None


def test_half_precision_input(tmp_path: Path) -> None:
    matrix = write(tmp_path / "net.onnx", ["N", 3, 12, 12], dtype=TensorProto.FLOAT16)
    images = torch.rand(2, 3, 12, 12)
    answer = load(tmp_path / "net.onnx").logits(images)
    assert answer.dtype == torch.float32
    torch.testing.assert_close(answer, images.mean((2, 3)) @ matrix, rtol=0, atol=1e-2)


def test_the_file_beside_it_gives_the_preprocessing(tmp_path: Path) -> None:
    matrix = write(tmp_path / "net.onnx", ["N", 3, "H", "W"])
    fields = {"input_size": [3, 6, 6], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.5, 1], "classes": list("abcde")}
    (tmp_path / "net.json").write_text(json.dumps(fields))
    model = load(tmp_path / "net.onnx")
    images = torch.rand(2, 3, 6, 6)
    expected = (images.mean((2, 3)) - 0.5) / torch.tensor([0.25, 0.5, 1]) @ matrix
    torch.testing.assert_close(model.logits(images), expected)
    assert model.class_names == tuple("abcde")
    assert model.identity()["std"] == [0.25, 0.5, 1]


def test_of_several_outputs_the_logits_are_taken(tmp_path: Path) -> None:
    matrix = write(tmp_path / "net.onnx", ["N", 3, 12, 12], outputs=("logits", "means_again"))
    images = torch.rand(2, 3, 12, 12)
    torch.testing.assert_close(load(tmp_path / "net.onnx").logits(images), images.mean((2, 3)) @ matrix)
    matrix = write(tmp_path / "net.onnx", ["N", 3, 12, 12], outputs=("scores", "means_again"))
    with pytest.raises(ModelError, match=r"2 outputs.*scores .*means_again"):
        load(tmp_path / "net.onnx")
    (tmp_path / "net.json").write_text('{"output": "scores"}')
    torch.testing.assert_close(load(tmp_path / "net.onnx").logits(images), images.mean((2, 3)) @ matrix)
    (tmp_path / "net.json").write_text('{"output": "score"}')
    with pytest.raises(ModelError, match="no output 'score'"):
        load(tmp_path / "net.onnx")


def test_identity_covers_weights_beside_the_file(tmp_path: Path) -> None:
    """Under whatever name: what is read is what the file points at."""
    write(tmp_path / "net.onnx", ["N", 3, 12, 12])
    assert load(tmp_path / "net.onnx").identity() == load(tmp_path / "net.onnx").identity()
    (tmp_path / "net.onnx").rename(tmp_path / "whole.onnx")
    images = torch.rand(2, 3, 12, 12)
    answer = load(tmp_path / "whole.onnx").logits(images)
    for name in ("net.onnx.data", "weights.bin", f"{'long' * 40}.bin"):
        place, whole = tmp_path / name, onnx.load(tmp_path / "whole.onnx")
        onnx.save(whole, tmp_path / "net.onnx", save_as_external_data=True, location=name, size_threshold=80)
        first = load(tmp_path / "net.onnx").identity()
        torch.testing.assert_close(load(tmp_path / "net.onnx").logits(images), answer)
        content = bytearray(place.read_bytes())
        content[-1] ^= 1
        place.write_bytes(content)
        second = load(tmp_path / "net.onnx").identity()
        assert second["file_sha256"] == first["file_sha256"]
        assert second["weights_sha256"] != first["weights_sha256"]
        place.unlink()
        with pytest.raises(ModelError, match=name) as caught:
            load(tmp_path / "net.onnx")
        assert str(tmp_path) in caught.value.hint


def test_to_stays_on_the_cpu_without_the_cuda_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    write(tmp_path / "net.onnx", ["N", 3, 12, 12])
    model = load(tmp_path / "net.onnx").to("cuda")
    assert model.device.type == "cpu"
    assert model.logits(torch.rand(1, 3, 12, 12)).device.type == "cpu"


@pytest.mark.parametrize(
    ("shape", "inputs", "message"),
    [
        (["N", 1, 12, 12], ["image"], "1 channel, and images are RGB"),
        (["N", 12, 12, 1], ["image"], "1 channel, and images are RGB"),
        (["N", 7, 12, 12], ["image"], "7 channels"),
        (["N", 3], ["image"], "shape"),
        (["N", 3, 12, "W"], ["image"], r"\(N, 3, 12, W\), of which one side is free"),
        (["N", 3, 12, 12], ["image", "mask"], r"2 inputs: image \(N, 3, 12, 12\), mask"),
        (["N", 3, 12, 12], ["image"], r"tensor\(int8\)"),
    ],
)
def test_other_inputs_are_refused(tmp_path: Path, shape: Shape, inputs: list[str], message: str) -> None:
    kind = TensorProto.INT8 if "int8" in message else TensorProto.FLOAT
    values = [helper.make_tensor_value_info(name, kind, shape) for name in (*inputs, "scores")]
    graph = helper.make_graph(
        [helper.make_node("Identity", [inputs[0]], ["scores"])], "graph", values[:-1], values[-1:]
    )
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=message):
        load(tmp_path / "net.onnx")


@pytest.mark.parametrize("side", [12, "side"])
def test_channels_last_gives_what_channels_first_gives(tmp_path: Path, side: int | str) -> None:
    matrix = write(tmp_path / "net.onnx", ["N", side, side, 3], axes=(1, 2))
    images = torch.rand(3, 3, 12, 12)
    model = load(tmp_path / "net.onnx")
    torch.testing.assert_close(model.logits(images), images.mean((2, 3)) @ matrix)
    assert model.input_size == (None if side == "side" else (3, 12, 12))


def test_inputs_of_other_dtypes(tmp_path: Path) -> None:
    images = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (2, 3, 12, 12), dtype=np.uint8))
    matrix = write(tmp_path / "double.onnx", ["N", 3, 12, 12], dtype=TensorProto.DOUBLE)
    expected = (images.double() / 255).mean((2, 3)) @ matrix.double()
    double = load(tmp_path / "double.onnx")
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.logits(images.double() / 255), expected, rtol=0, atol=1e-14)
    matrix = write(tmp_path / "levels.onnx", ["N", 3, 12, 12], dtype=TensorProto.UINT8)
    levels = load(tmp_path / "levels.onnx")
    assert levels.dtype == torch.float32
    torch.testing.assert_close(levels.logits(images / 255), images.float().mean((2, 3)) @ matrix)
    (tmp_path / "levels.json").write_text('{"mean": 0.5}')
    with pytest.raises(ModelError, match="uint8"):
        load(tmp_path / "levels.onnx")


def test_a_free_side_and_a_size_that_does_not_fit(tmp_path: Path) -> None:
    matrix = write(tmp_path / "net.onnx", ["N", 3, 12, "W"])
    with pytest.raises(ModelError, match="one side is free") as caught:
        load(tmp_path / "net.onnx")
    assert 'net.json: {"input_size": [3, 12, 12]}' in caught.value.hint
    (tmp_path / "net.json").write_text('{"input_size": [3, 12, 9]}')
    images = torch.rand(2, 3, 12, 9)
    torch.testing.assert_close(load(tmp_path / "net.onnx").logits(images), images.mean((2, 3)) @ matrix)
    (tmp_path / "net.json").write_text('{"input_size": 9}')
    with pytest.raises(ModelError, match=r"net\.json says input_size \[3, 9, 9\].*\(N, 3, 12, W\)"):
        load(tmp_path / "net.onnx")


@pytest.mark.parametrize("rows", [1, 2])
def test_a_batch_that_is_built_in(tmp_path: Path, rows: int) -> None:
    """A Reshape to a number of images: one at a time it may work, and else it is said what to change."""
    matrix = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    nodes = [
        helper.make_node("Reshape", ["image", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "m"], ["z"]),
    ]
    weights = [numpy_helper.from_array(np.array([rows, -1]), "shape"), numpy_helper.from_array(matrix, "m")]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("image", "z")]
    ends[0] = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 2, 2])
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], weights)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "net.onnx"
    )
    model, images = load(tmp_path / "net.onnx"), torch.rand(rows, 3, 2, 2)
    torch.testing.assert_close(model.logits(images), images.flatten(1) @ torch.from_numpy(matrix))
    with pytest.raises(ModelError, match=r"net\.onnx") as caught:
        model.logits(torch.rand(4, 3, 2, 2))
    assert "batch" in caught.value.hint
    assert "input_size" not in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"no protobuf at all"])
def test_broken_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"net\.onnx") as caught:
        load(tmp_path / "net.onnx")
    assert "\n" not in caught.value.message


def test_a_failure_while_running_names_the_images(tmp_path: Path) -> None:
    write(tmp_path / "net.onnx", ["N", 3, "H", "W"])
    with pytest.raises(ModelError, match=r"net\.onnx.* 2 images of \(1, 8, 8\)"):
        load(tmp_path / "net.onnx").logits(torch.rand(2, 1, 8, 8))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_a_file_from_torch_answers_as_the_module(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    ).eval()
    images = torch.rand(5, 3, 12, 12)
    batch = torch.export.Dim("batch")
    torch.onnx.export(network, (images[:2],), str(tmp_path / "net.onnx"), dynamic_shapes=({0: batch},), verbose=False)
    with torch.no_grad():
        torch.testing.assert_close(load(tmp_path / "net.onnx").logits(images), network(images), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not SHARED.is_file(), reason="the shared networks are not beside the repository")
def test_a_real_file_of_free_size() -> None:
    model = load(SHARED)
    assert model.input_size is None
    assert model.logits(torch.rand(2, 3, 64, 64)).shape == (2, 1000)
    assert model.identity()["file_sha256"] == "c0d9285dd48b7eb62f83951d232de2a0f692f27aee2a1ac5f3f19e40a3a3234c"
