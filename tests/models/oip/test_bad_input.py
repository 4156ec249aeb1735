"""Names, files and metadata that do not fit: one clear line that says what to write."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oip_server import serve

from linbp.errors import ModelError
from linbp.models import load_model
from linbp.models.oip.address import Address, read_address
from linbp.models.oip.sidecar import Sidecar, read_sidecar
from linbp.models.oip.tensors import read_tensors

ADDRESSES = {
    "http://h:1/m": ("http", "h:1", "", "m", "", ""),
    "https://h/a/b/m": ("https", "h", "/a/b", "m", "", ""),
    "http://h:1/v2/models/m/infer": ("http", "h:1", "", "m", "", ""),
    "http://h:1/a/v2/models/m/versions/7@s.json": ("http", "h:1", "/a", "m", "7", "s.json"),
    "grpc://[::1]:8001/a%20b@C.JSON": ("grpc", "[::1]:8001", "", "a b", "", "C.JSON"),
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses(text: str) -> None:
    scheme, host, prefix, model, version, sidecar = ADDRESSES[text]
    assert read_address(text) == Address(
        scheme=scheme, host=host, prefix=prefix, model=model, version=version, sidecar=sidecar
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h",
        "http://",
        "http://h:1",
        "http://h:1/",
        "ftp://h/m",
        "grpc://h:1/a/m",
        "http://h:x/m",
        "http://h/m@s.txt",
    ],
)
def test_names_of_nothing(text: str) -> None:
    with pytest.raises(ModelError) as error:
        load_model(f"oip:{text}")
    assert error.value.hint
    assert len(error.value.message.splitlines()) == 1


FILES: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "JSON"),
    "a list": ([], "list"),
    "an unknown field": ({"layuot": "NCHW"}, "layuot"),
    "a wrong type": ({"batch": "8"}, "batch is 8"),
    "a truth value": ({"retries": True}, "retries"),
    "a wrong word": ({"layout": "CHW"}, "layout is CHW"),
    "a negative number": ({"timeout": -1}, "timeout is -1"),
    "levels": ({"mean": [123, 117, 104]}, "scale"),
    "labels without classes": ({"answers": "labels"}, '"classes"'),
    "top-k of one output": ({"answers": "top-k", "output": "scores", "classes": 5}, "two outputs"),
    "two outputs of scores": ({"output": ["a", "b"]}, "one output"),
    "a top of labels": ({"answers": "labels", "classes": 5, "top": 2}, "top"),
    "uint8 with a mean": ({"dtype": "uint8", "mean": 0.5}, "UINT8"),
    "another crop": ({"input_size": 224, "crop": 200}, "crop"),
}


@pytest.mark.parametrize("name", FILES)
def test_files(tmp_path: Path, name: str) -> None:
    content, words = FILES[name]
    file = tmp_path / "side.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ModelError) as error:
        read_sidecar(str(file))
    assert words in error.value.message
    assert error.value.hint
    assert len(error.value.message.splitlines()) == 1


def test_a_password_where_the_name_of_a_variable_belongs_is_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "side.json"
    for given in ({"Authorization": "Bearer s3cr3t"}, {"Authorization": ["s3cr3t"]}, {"Authorization": ""}):
        file.write_text(json.dumps({"headers_env": given}))
        with pytest.raises(ModelError) as error:
            load_model(f"oip:http://127.0.0.1:1/m@{file}")
        assert "s3cr3t" not in str(error.value)
    with pytest.raises(ModelError, match="cannot be read"):
        read_sidecar(str(tmp_path / "none.json"))


def metadata(shape: list[int], dtype: str = "FP32", **more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "datatype": dtype, "shape": shape}], "outputs": [], **more}


TENSORS: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "nothing said": ({}, {}, "does not say", '"input"'),
    "all axes free": (metadata([-1, -1, -1, -1]), {}, "which axis", '"layout"'),
    "both ends are three": (metadata([-1, 3, 224, 3]), {}, "which axis", '"layout"'),
    "one side free": (metadata([-1, 3, 224, -1]), {}, "one side", '"input_size": [3, 224, 224]'),
    "three axes": (metadata([3, 224, 224]), {}, "four axes", "(N, 3, H, W)"),
    "grey": (metadata([-1, 1, 28, 28]), {}, "1 channel,", "three"),
    "encoded": (metadata([-1], "BYTES"), {}, "BYTES", "file:"),
    "whole numbers": (metadata([-1, 3, 8, 8], "INT32"), {}, "INT32", "Serve"),
    "another dtype": (metadata([-1, 3, 8, 8]), {"dtype": "UINT8"}, "FP32", '"dtype": "FP32"'),
    "another layout": (metadata([-1, 3, 8, 8]), {"layout": "NHWC"}, "NHWC", '"layout": "NCHW"'),
    "another size": (metadata([-1, 3, 8, 8]), {"input_size": (3, 9, 9)}, "(?, 3, 8, 8)", '"input_size": [3, 8, 8]'),
    "another input": (metadata([-1, 3, 8, 8]), {"input": "y"}, "no input 'y'", "x FP32 (?, 3, 8, 8)"),
    "levels with a mean": (metadata([-1, 3, 8, 8], "UINT8"), {"mean": 0.5}, "UINT8", "mean"),
    "two inputs": (
        {"inputs": [{"name": name, "datatype": "FP32", "shape": [-1, 3, 8, 8]} for name in "xy"]},
        {},
        "2 inputs: x FP32 (?, 3, 8, 8), y",
        "one batch",
    ),
    "two outputs": (
        metadata([-1, 3, 8, 8], outputs=[{"name": name, "datatype": "FP32", "shape": [-1, 5]} for name in "ab"]),
        {},
        "2 outputs",
        '"output": "a"',
    ),
    "another output": (
        metadata([-1, 3, 8, 8], outputs=[{"name": "a", "datatype": "FP32", "shape": [-1, 5]}]),
        {"output": "b"},
        "no output 'b'",
        "a FP32 (?, 5)",
    ),
    "names": (
        metadata([-1, 3, 8, 8], outputs=[{"name": "a", "datatype": "BYTES", "shape": [-1, 1]}]),
        {},
        "BYTES",
        '"answers": "labels"',
    ),
}


@pytest.mark.parametrize("name", TENSORS)
def test_metadata(name: str) -> None:
    told, fields, words, hint = TENSORS[name]
    with pytest.raises(ModelError) as error:
        read_tensors(told, Sidecar(**fields), "m")
    assert words in error.value.message
    assert hint in error.value.hint


def test_what_the_file_adds_makes_free_axes_clear() -> None:
    found = read_tensors(metadata([-1, -1, -1, -1]), Sidecar(layout="NHWC", input_size=(3, 5, 7)), "m")
    assert (found.channels_last, found.size, found.batch) == (True, (3, 5, 7), None)
    found = read_tensors(metadata([4, 3, -1, -1]), Sidecar(), "m")
    assert (found.channels_last, found.size, found.batch) == (False, None, 4)


def test_a_fixed_batch_is_filled_up() -> None:

    with serve(shape=[4, 3, 8, 8]) as server:
        found = load_model(server.name).logits(torch.rand(6, 3, 8, 8))
        assert found.shape == (6, 3)
        assert [len(one.images) for one in server.asked] == [4, 4]


def test_tritons_largest_batch_is_kept() -> None:

    with serve(extensions=["model_configuration"], config={"max_batch_size": 4}) as server:
        load_model(server.name).logits(torch.rand(6, 3, 8, 8))
        assert [len(one.images) for one in server.asked] == [4, 2]


def test_tritons_sorted_classes(tmp_path: Path) -> None:
    """Texts `score:class:label`, as Triton's classification extension has them."""

    def sorted_classes(images: Any) -> dict[str, Any]:
        means = images.mean((2, 3))
        order = np.argsort(-means, axis=1)[:, :2]
        texts = [[f"{means[row, place]:.6f}:{place}:name" for place in places] for row, places in enumerate(order)]
        return {"scores": np.array(texts, dtype=object)}

    file = tmp_path / "side.json"
    file.write_text(json.dumps({"answers": "top-k", "top": 2, "classes": 3}))
    images = torch.rand(5, 3, 8, 8)
    with serve(answer=sorted_classes) as server:
        found = load_model(f"{server.name}@{file}").logits(images)
    assert torch.equal(found.argmax(1), images.mean((2, 3)).argmax(1))


@pytest.mark.parametrize("package", ["geventhttpclient", "grpc", "tenacity"])
def test_without_the_extra_the_message_names_it(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelError) as error:
        load_model(f"oip:{'grpc' if package == 'grpc' else 'http'}://127.0.0.1:1/m")
    assert "linbp[http]" in error.value.hint
