"""`linbp substitute` as a user types it, and its folder as the surrogate of other commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_linearize import COUNT
from test_refine import Run, linbp, two_lines

__all__ = ["linbp"]

OTHER = """
import torch
from torch import nn
import linbp


def five():
    torch.manual_seed(1)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)]
    return linbp.Model(nn.Sequential(*layers), input_size=12, name="five")


class Quarters:
    name = "quarters"

    def logits(self, images):
        means = nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 2)
        return means.flatten(1)[:, [0, 1, 2]]

    def identity(self):
        return {"name": self.name}


def parts():
    return Quarters()
"""


@pytest.fixture(autouse=True)
def other(linbp: Run) -> None:
    Path("other.py").write_text(OTHER)


def words(out: str, *more: str, victim: str = "file:other.py:parts") -> list[str]:
    small = ["--epochs", "2", "--batch-size", "4"]
    given = ["--victim", victim, "--backbone", "file:other.py:five", "--data", "photos", "--out", out]
    return ["substitute", *given, *small, *more]


def test_from_the_victim_to_adversarial_images_of_its_substitute(linbp: Run) -> None:
    status, out, err = linbp(*words("sub", "--queries", "15"))
    assert (status, err) == (0, "")
    assert "15 queries, 6 steps on 12 images" in out
    assert "--surrogate sub" in out
    craft = ["--recipe", "mi", "--data", "photos", "--labels", "predicted", "--out", "adv", "--steps", "3", "--json"]
    status, out, err = linbp("craft", "--surrogate", "sub", *craft)
    assert (status, err) == (0, "")
    surrogate = json.loads(out)["manifest"]["settings"]["surrogate"]
    assert (surrogate["substitute"]["victim"], surrogate["substitute"]["queries"]) == ("quarters", 15)
    assert linbp("evaluate", "adv", "--victim", "file:other.py:parts").status == 0

    status, out, _ = linbp(*words("sub", "--queries", "15"), "--json")
    facts = json.loads(out)
    assert (status, facts["already_finished"], facts["queries"]) == (0, True, 15)
    assert facts["agreement"]["n"] == 3


def test_a_black_box_with_other_classes(linbp: Run) -> None:
    status, out, _ = linbp(*words("sub", "--soft-labels", "--json"))
    assert (status, json.loads(out)["queries"]) == (0, COUNT)
    status, out, _ = linbp("inspect", "sub", "--json")
    assert (status, json.loads(out)["classes"]) == (0, 3)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--queries", "1"], "1 queries are too few"),
        (["--epochs", "0"], "epochs is 0"),
        (["--held-out", "0"], "0 of the images cannot be held out"),
        (["--data", "nowhere"], "nowhere does not exist"),
        (["--out", "photos"], "photos is not empty"),
        (["--victim", "file:other.py:six"], "six"),
        (["--backbone", "file:other.py:parts"], "gives no gradients"),
    ],
)
def test_bad_input_is_two_lines(linbp: Run, more: list[str], message: str) -> None:
    assert message in two_lines(linbp(*words("sub", *more)))
    assert not Path("sub/model.pt2").exists()
