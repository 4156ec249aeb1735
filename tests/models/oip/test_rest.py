"""A model behind REST: what it is sent, what it is asked about, what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oip_server import OipServer, mean_scores, serve

import linbp
from linbp.models import BlackBox, load_model


def images(count: int, side: int = 8, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, side, side), dtype=np.uint8)


def unit(pixels: np.ndarray[Any, Any]) -> torch.Tensor:
    return torch.from_numpy(pixels).float() / 255


def named(server: OipServer, folder: Path, **fields: Any) -> str:
    """The model's name with a sidecar of those fields."""
    file = folder / "side.json"
    file.write_text(json.dumps(fields))
    return f"{server.name}@{file}"


def test_a_served_model_is_a_victim() -> None:
    clean = images(12)
    labels = clean.mean((2, 3)).argmax(1)
    with serve() as server:
        found = linbp.evaluate(server.name, clean, clean[:, [1, 2, 0]], labels, trust_victim=True)
        assert found.statistics.right_on_clean == found.statistics.fooled.successes == 12
        assert (server.images, found.queries.images, found.queries.ever) == (24, 24, 24)
        again = linbp.evaluate(server.name, clean, clean[:, [1, 2, 0]], labels, trust_victim=True)
        assert again.records == found.records
        assert (server.images, again.queries.images, again.queries.kept) == (24, 0, 24)
    facts = found.victim
    assert any("gets RGB in [0, 1] as it is" in note for note in found.notes)
    assert (facts["name"], facts["url"], facts["model"]) == ("mean", f"http://127.0.0.1:{server.port}", "mean")


def test_every_image_has_one_answer_within_and_across_batches() -> None:
    """Kept answers and new ones come back in the order of the questions, equal images are sent once."""
    with serve() as server:
        model = load_model(server.name)
        assert isinstance(model, BlackBox)
        pixels = images(5)
        model.logits(unit(pixels[[3, 1]]))
        found = model.logits(unit(pixels[[0, 1, 2, 3, 0, 4]]))
        assert torch.equal(found, torch.from_numpy(mean_scores(unit(pixels[[0, 1, 2, 3, 0, 4]]).numpy())))
        assert server.images == 5


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["FP32", "FP16", "FP64", "UINT8"])
@pytest.mark.parametrize("binary", [False, True])
def test_the_server_gets_the_layout_and_the_numbers_that_it_takes(
    tmp_path: Path, layout: str, dtype: str, binary: bool
) -> None:
    """Against the formula in float64."""
    shape = [-1, 3, 8, 8] if layout == "NCHW" else [-1, 8, 8, 3]
    mean, std = [0.25, 0.5, 0.75], [0.5, 0.25, 0.125]
    fields = {} if dtype == "UINT8" else {"mean": mean, "std": std}
    with serve(
        shape=shape,
        dtype=dtype,
        extensions=["binary_tensor_data"] if binary else [],
        answer=lambda sent: {"scores": sent.reshape(len(sent), -1)[:, :3].astype(np.float32)},
    ) as server:
        pixels = images(3)
        model = load_model(named(server, tmp_path, **fields))
        model.logits(unit(pixels).to(model.dtype))
        sent = server.asked[0].images
    wanted = pixels.astype(np.float64)
    if dtype != "UINT8":
        wanted = (wanted / 255 - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    if layout == "NHWC":
        wanted = wanted.transpose(0, 2, 3, 1)
    tolerance = {"FP32": 1e-6, "FP16": 4e-3, "FP64": 1e-6, "UINT8": 0.0}[dtype]
    assert sent.shape == wanted.shape
    np.testing.assert_allclose(sent.astype(np.float64), wanted, rtol=0, atol=tolerance)
    assert sent.dtype == {"FP32": np.float32, "FP16": np.float16, "FP64": np.float64, "UINT8": np.uint8}[dtype]
