"""Victims that only answer: objects of the user's own, from a file or from memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import linbp
from linbp.errors import ModelError
from linbp.models import BlackBox, load_model

ANSWERS = """
import numpy as np
import torch

import linbp
from linbp.errors import ModelError


class Mean:
    name = "mean"

    def __init__(self, answer=None):
        self.answer = answer

    def logits(self, images):
        assert images.device.type == "cpu" and images.dtype == torch.float32
        values = images.mean((2, 3)).double()
        return values if self.answer is None else self.answer(values)

    def identity(self):
        return {"name": "another", "url": "http://here"}


def fails(values):
    raise ConnectionError("no route")


def refuses(values):
    raise ModelError("The service is closed.", "Come back on Monday.")


def victim(): return Mean()
def arrays(): return Mean(lambda values: values.numpy())
def failing(): return Mean(fails)
def refusing(): return Mean(refuses)
def flat(): return Mean(lambda values: values[:, 0])
def nan(): return Mean(lambda values: values * float("nan"))
class Unknown(Mean):
    def identity(self):
        raise KeyError("URL")


def unknown(): return Unknown()
def words(): return Mean(lambda values: ["cat"] * len(values))
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "answers.py").write_text(ANSWERS)
    return f"file:{tmp_path / 'answers.py'}"


@pytest.mark.parametrize("function", ["victim", "arrays"])
def test_an_object_that_answers_is_a_victim(file: str, function: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 6), dtype=np.uint8)
    labels = images.mean((2, 3)).argmax(1)
    adv = images[:, [1, 2, 0]]
    found = linbp.evaluate(f"{file}:{function}", images, adv, labels)
    assert found.statistics.right_on_clean == found.statistics.fooled.successes == 5
    victim = load_model(f"{file}:{function}")
    assert isinstance(victim, BlackBox)
    assert victim.to("cpu") is victim
    facts = found.victim
    assert (facts["name"], facts["url"], facts["spec"]) == ("mean", "http://here", f"{file}:{function}")
    assert len(facts["code_sha256"]) == 64


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("failing", "mean failed on 2 images: answers.py, line 25: ConnectionError: no route"),
        ("refusing", "The service is closed"),
        ("flat", "answers 2 images with shape"),
        ("nan", "NaN or infinite"),
        ("words", "answers with a list"),
    ],
)
def test_faults_name_the_victim_and_the_line(file: str, function: str, says: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(f"{file}:{function}").logits(torch.rand(2, 3, 4, 4))
    assert says in caught.value.message
    assert caught.value.hint


def test_it_is_no_surrogate(file: str) -> None:
    with pytest.raises(ModelError, match="gradients"):
        linbp.craft(load_model(f"{file}:victim"), torch.zeros(1, 3, 4, 4), [0], "ifgsm", eps="4/255")  # type: ignore[arg-type]


def test_it_may_be_a_proxy(file: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    model = linbp.Model(nn.Sequential(*layers), input_size=(3, 6, 6))
    images = np.random.default_rng(1).integers(0, 256, (2, 3, 6, 6), dtype=np.uint8)
    proxy = load_model(f"{file}:victim")
    choice = linbp.choose_start(model, images, [0, 1], "linbp(start=auto)", proxies=[proxy], eps="8/255", steps=2)
    assert choice.proxies == ("mean",)


def test_a_network_that_fails_is_named() -> None:
    class Narrow(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(images.flatten(1), torch.ones(3, 7))

    images = np.zeros((1, 3, 2, 2), dtype=np.uint8)
    with pytest.raises(ModelError) as caught:
        linbp.evaluate(linbp.Model(Narrow(), input_size=(3, 2, 2), name="narrow"), images, images, [0])
    assert "narrow failed on 1 images of (3, 2, 2): RuntimeError: " in caught.value.message


def test_an_identity_that_cannot_be_recorded_is_known_at_once(file: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(f"{file}:unknown")
    assert "The identity of mean cannot be recorded: answers.py, line" in caught.value.message
    assert "KeyError: 'URL'" in caught.value.message

    class Odd:
        name = "odd"

        def logits(self, images: torch.Tensor) -> torch.Tensor:
            raise AssertionError("asked")

        def identity(self) -> dict[str, object]:
            return {"place": Path()}

    images = np.zeros((1, 3, 2, 2), dtype=np.uint8)
    with pytest.raises(ModelError, match="identity of odd"):
        linbp.evaluate(Odd(), images, images, [0])


@pytest.mark.parametrize(("answer", "says"), [(np.nan, "NaN"), (None, "NoneType"), ([[1.0], [2.0]], "list")])
def test_an_object_in_memory_is_held_to_the_same(answer: object, says: str) -> None:
    class Given:
        name = "given"

        def logits(self, images: torch.Tensor) -> torch.Tensor:
            return torch.full((len(images), 3), answer) if isinstance(answer, float) else answer  # type: ignore[return-value]

        def identity(self) -> dict[str, object]:
            return {}

    images = np.zeros((2, 3, 2, 2), dtype=np.uint8)
    with pytest.raises(ModelError, match=says):
        linbp.evaluate(Given(), images, images, [0, 1])
