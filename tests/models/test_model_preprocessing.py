"""Sizes, means and standard deviations as people write them, from Python and from the file beside a network."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from linbp.errors import ModelError
from linbp.models import Model
from linbp.models.sidecar import read_sidecar

IMAGENET_255 = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}


@pytest.mark.parametrize(
    ("given", "size", "mean", "std"),
    [
        ({"input_size": 8}, (3, 8, 8), (0.0,) * 3, (1.0,) * 3),
        ({"input_size": np.int64(8), "mean": 0.5, "std": np.float32(0.25)}, (3, 8, 8), (0.5,) * 3, (0.25,) * 3),
        ({"input_size": torch.Size((3, 8, 9)), "mean": torch.full((3,), 0.5)}, (3, 8, 9), (0.5,) * 3, (1.0,) * 3),
        ({"input_size": np.array([1, 8, 9])}, (1, 8, 9), (0.0,), (1.0,)),
        ({"input_size": [3, 8, 8], "std": 1 / 255}, (3, 8, 8), (0.0,) * 3, (1 / 255,) * 3),
        ({"input_size": 8, "mean": (0.485, 0.456, 0.406), "std": 1 / 255}, None, (0.485, 0.456, 0.406), (1 / 255,) * 3),
    ],
)
def test_what_is_plain_is_accepted(given: dict[str, Any], size: Any, mean: Any, std: Any) -> None:
    model = Model(nn.Flatten(), **given)
    assert model.input_size == (size or (3, 8, 8))
    assert model.mean == pytest.approx(mean)
    assert model.std == pytest.approx(std)


@pytest.mark.parametrize(
    ("given", "mend"),
    [
        (IMAGENET_255, ("0.485", "0.229")),
        ({"mean": 127.5, "std": 127.5}, ("mean=0.5", "std=0.5")),
        ({"mean": 128, "std": 1}, ("mean=0.502", "std=0.003922")),
        ({"std": 255}, ("std=255",)),
        ({"mean": 0.5, "std": 128.0}, ("std=0.502",)),
        ({"mean": (-123.675, -116.28, -103.53), "std": 1 / 255}, ("0.485", "std=0.003922")),
    ],
)
def test_numbers_of_another_scale_are_refused_with_what_to_write(given: dict[str, Any], mend: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match=r"scale of images in \[0, 1\]") as caught:
        Model(nn.Flatten(), input_size=8, **given)
    for words in mend:
        assert words in caught.value.hint


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"input_size": "224"}, "input_size is '224'"),
        ({"input_size": (224, 224, 3)}, r"channels come first"),
        ({"input_size": 8.5}, "8.5"),
        ({"input_size": True}, "True"),
        ({"input_size": None}, "None"),
        ({"input_size": 8, "mean": None}, "mean is None"),
        ({"input_size": 8, "mean": "0.5"}, "mean is '0.5'"),
        ({"input_size": 8, "mean": (0.5, 0.5)}, "3 channels"),
        ({"input_size": 8, "mean": float("nan")}, "mean is nan"),
        ({"input_size": 8, "std": ()}, r"std is \(\)"),
        ({"input_size": 8, "std": -1}, "std -1"),
        ({"input_size": 8, "mean": {"r": 1}}, "mean is"),
        ({"input_size": 8, "interpolation": "bilinaer"}, "bilinaer"),
    ],
)
def test_anything_else_is_one_line(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        Model(nn.Flatten(), **given)
    assert "\n" not in caught.value.message
    assert caught.value.hint


TEXT = json.dumps({"input_size": 32, "mean": 0.5, "std": [0.2, 0.2, 0.2], "interpolation": "bicubic"})


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.encode("utf-16"),  # what > writes in PowerShell
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    ],
)
def test_the_file_beside_a_network_as_editors_write_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.json").write_bytes(content)
    found = read_sidecar(tmp_path / "net.onnx")
    assert found["input_size"] == (3, 32, 32)
    assert (found["mean"], found["std"], found["interpolation"]) == (0.5, [0.2, 0.2, 0.2], "bicubic")


@pytest.mark.parametrize(
    ("content", "words", "mend"),
    [
        ('{"meen": 0.5}', r"net\.json.*'meen'", "'mean'"),
        ('{"Mean": 0.5}', r"net\.json.*'Mean'", "'mean'"),
        ('{"input-size": 8}', r"net\.json.*'input-size'", "'input_size'"),
        ('{"outputs": "z"}', r"net\.json.*'outputs'", "'output'"),
        ('{"mean": [123.7, 116.3, 103.5]}', r"net\.json.*scale", "0.485"),
        ('{"input_size": [224, 224, 3]}', r"net\.json.*channels come first", "(3, 224, 224)"),
        ('{"mean": "0.5"}', r"net\.json: mean", "Write"),
        ('{"mean": 0.5,}', r"net\.json is not readable.*line 1", "Write"),
        ("[]", r"net\.json holds a list", "Write"),
    ],
)
def test_faults_of_the_file_beside_a_network_are_named(tmp_path: Path, content: str, words: str, mend: str) -> None:
    (tmp_path / "net.json").write_text(content)
    with pytest.raises(ModelError, match=words) as caught:
        read_sidecar(tmp_path / "net.onnx")
    assert mend in caught.value.hint


def test_a_file_of_another_name_is_not_overlooked(tmp_path: Path) -> None:
    (tmp_path / "net.onnx.json").write_text(TEXT)
    with pytest.raises(ModelError, match=r"net\.onnx\.json") as caught:
        read_sidecar(tmp_path / "net.onnx")
    assert "net.json" in caught.value.hint
