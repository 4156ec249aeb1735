"""Surrogates and proxies that answer with probabilities are refused, and say how to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from resolved_jobs import craft_folder
from torch import nn

import linbp
from linbp.data.image_list import list_images
from linbp.data.images import write_png
from linbp.errors import ModelError, RecipeError
from linbp.models import Model

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)


class Ending(nn.Module):
    def __init__(self, end: Any) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 6))
        self.end = end

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.end(self.layers(images))
        return answer


PROBABILITIES = {
    "softmax": lambda z: z.softmax(1),
    "with a temperature": lambda z: (z / 4).softmax(-1),
    "saturated": lambda z: (1e6 * z).softmax(1),
    "reshaped": lambda z: z.softmax(1).reshape(-1, 6).clone(),
    "of a mean of two": lambda z: (z.softmax(1) + z.flip(1).softmax(1)) / 2,
    "normalised by hand": lambda z: z.exp() / z.exp().sum(1, keepdim=True),
    "sigmoid": lambda z: z.sigmoid(),
}
LOGITS = {
    "logits": lambda z: z,
    "log_softmax": lambda z: z.log_softmax(1),
    "log of a mean": lambda z: ((z.softmax(1) + z.flip(1).softmax(1)) / 2).log(),
}


def craft(model: Model) -> np.ndarray[Any, np.dtype[np.float64]]:
    return linbp.craft(model, IMAGES, [0, 1, 2, 3, 4, 5], "ifgsm", eps="8/255", steps=4)  # type: ignore[return-value]


@pytest.mark.parametrize("name", PROBABILITIES)
def test_a_surrogate_that_answers_with_probabilities(name: str, tmp_path: Path) -> None:
    model = Model(Ending(PROBABILITIES[name]).double(), input_size=8, name="net")
    with pytest.raises(ModelError, match=r"net.*probabilities") as told:
        craft(model)
    assert "log_softmax" in told.value.hint
    ensemble = linbp.Ensemble([Model(Ending(LOGITS["logits"]).double(), input_size=8, name="good"), model])
    with pytest.raises(ModelError, match=r"net.*probabilities"):
        craft(ensemble)  # type: ignore[arg-type]
    if name == "softmax":
        lines = ["file,label"]
        for row, image in enumerate(IMAGES):
            write_png(tmp_path / f"{row}.png", image.transpose(1, 2, 0))
            lines.append(f"{row}.png,{row}")
        (tmp_path / "images.csv").write_text("\n".join(lines) + "\n")
        with pytest.raises(ModelError, match=r"net.*probabilities"):
            craft_folder(model, list_images(tmp_path), tmp_path / "out", "ifgsm", steps=2)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", LOGITS)
def test_logits_and_logarithms_of_probabilities_are_attacked(name: str) -> None:
    adv = craft(Model(Ending(LOGITS[name]).double(), input_size=8))
    if name == "log_softmax":  # the same cross-entropy
        np.testing.assert_array_equal(adv, craft(Model(Ending(LOGITS["logits"]).double(), input_size=8)))
    assert np.abs(adv * 255 - IMAGES).max() == pytest.approx(4 if name != "log of a mean" else 8, abs=4)


def test_a_proxy_that_answers_with_probabilities() -> None:
    model = Model(Ending(LOGITS["logits"]).double(), input_size=8)
    proxy = Model(Ending(PROBABILITIES["normalised by hand"]), input_size=8, name="sure")
    with pytest.raises(RecipeError, match=r"sure.*probabilities"):
        linbp.choose_start(model, IMAGES, range(6), "linbp(start=auto)", proxies=[proxy], eps="8/255", steps=2)


def test_a_surrogate_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[linbp.Surrogate] = []
    logits = linbp.Surrogate.logits
    monkeypatch.setattr(linbp.Surrogate, "logits", lambda self, images: asked.append(self) or logits(self, images))
    one, other = (linbp.Surrogate(Model(Ending(LOGITS["logits"]), input_size=8)) for _ in range(2))
    for surrogate in (one, one, other, one):
        linbp.craft(surrogate, IMAGES, [0, 1, 2, 3, 4, 5], "ifgsm", eps="8/255", steps=2)
    assert asked == [one, other]
