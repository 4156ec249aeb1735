"""TFLite files as victims: scores as computed by hand, of floats and of whole numbers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from tflite_files import write_tflite

from linbp.attack.named_surrogates import load_surrogate
from linbp.errors import ModelError
from linbp.models import BlackBox, load_model


def load(path: Path) -> BlackBox:
    model = load_model(path)
    assert isinstance(model, BlackBox)
    return model


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("batch", [1, 2])
def test_floats(tmp_path: Path, batch: int, count: int) -> None:
    matrix = torch.from_numpy(write_tflite(tmp_path / "net.tflite", [batch, 8, 6, 3]))
    fields = {"mean": [0.4, 0.5, 0.6], "std": 0.25, "classes": list("abcde")}
    (tmp_path / "net.json").write_text(json.dumps(fields))
    victim = load(tmp_path / "net.tflite")
    images = torch.rand(count, 3, 8, 6)
    expected = (images.mean((2, 3)) - torch.tensor([0.4, 0.5, 0.6])) / 0.25 @ matrix
    torch.testing.assert_close(victim.logits(images), expected, rtol=1e-4, atol=1e-5)
    assert (victim.input_size, victim.class_names) == ((3, 8, 6), tuple("abcde"))
    digest = hashlib.sha256((tmp_path / "net.tflite").read_bytes()).hexdigest()
    assert victim.identity()["file_sha256"] == digest


def test_channels_first_and_a_free_size(tmp_path: Path) -> None:
    matrix = torch.from_numpy(write_tflite(tmp_path / "net.tflite", [1, 3, 8, 6], channels_last=False))
    images = torch.rand(2, 3, 8, 6)
    torch.testing.assert_close(load(tmp_path / "net.tflite").logits(images), images.mean((2, 3)) @ matrix)
    write_tflite(tmp_path / "free.tflite", [1, -1, -1, 3])
    with pytest.raises(ModelError, match=r"free\.json"):
        load(tmp_path / "free.tflite")
    (tmp_path / "free.json").write_text('{"input_size": [3, 8, 6]}')
    torch.testing.assert_close(load(tmp_path / "free.tflite").logits(images), images.mean((2, 3)) @ matrix)


@pytest.mark.parametrize(("kind", "zero"), [("uint8", 128), ("int8", 0)])
@pytest.mark.parametrize("stated", [False, True])
def test_whole_numbers(tmp_path: Path, kind: str, zero: int, stated: bool) -> None:
    scale = 1 / 100
    matrix = torch.from_numpy(write_tflite(tmp_path / "net.tflite", [1, 8, 6, 3], kind=kind, scale=(scale, zero)))
    images = (torch.rand(3, 3, 8, 6) * 255).round() / 255
    if stated:
        (tmp_path / "net.json").write_text('{"mean": 0.5, "std": 0.5}')
        real = ((images - 0.5) / 0.5 / scale).round() * scale
    else:
        levels = (images * 255).round() - (128 if kind == "int8" else 0)
        real = (levels - zero) * scale
    expected = real.mean((2, 3)) @ matrix
    torch.testing.assert_close(load(tmp_path / "net.tflite").logits(images), expected, rtol=1e-3, atol=1e-4)


def test_scores_of_whole_numbers(tmp_path: Path) -> None:
    matrix = write_tflite(tmp_path / "net.tflite", [1, 8, 6, 3], scores=(0.02, 120))
    images = torch.rand(3, 3, 8, 6)
    expected = images.mean((2, 3)) @ torch.from_numpy(matrix)
    found = load(tmp_path / "net.tflite").logits(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.0101)
    assert len(torch.unique((found / 0.02).round() - found / 0.02)) <= len(found.flatten())
    torch.testing.assert_close((found / 0.02).round() * 0.02, found)


def test_what_is_wrong_with_a_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    write_tflite(path, [1, 8, 6, 3])
    with pytest.raises(ModelError, match="gives no gradients"):
        load_surrogate(str(path))
    (tmp_path / "net.json").write_text('{"input_size": [3, 9, 6]}')
    with pytest.raises(ModelError, match=r"net\.json says \[3, 9, 6\]"):
        load(path)
    (tmp_path / "net.json").unlink()
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ModelError, match="LiteRT cannot load"):
        load(path)
