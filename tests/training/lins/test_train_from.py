"""Layers in front of `train_from` stay as they are: weights, statistics and counters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from eager_networks import images_and_labels, model

from linbp.errors import RuleError
from linbp.training.lins import Tuning, linearize

LAYERS = ["stem", "norm", "conv1", "norm1", "conv2", "norm2", "squeeze", "hidden", "head"]


@pytest.mark.parametrize(
    ("train_from", "first"),
    [("stem", "stem"), ("conv1", "conv1"), ("inner", "conv2"), (2, "conv2"), (0.5, "squeeze"), ("head", "head")],
)
def test_what_moves_and_what_stays(train_from: Any, first: str) -> None:
    images, labels = images_and_labels(12)
    given = model()
    tuning = Tuning(epochs=1, batch_size=4, learning_rate=0.1, recalibrate=2, train_from=train_from)
    found = linearize(given, 2, images, labels, tuning=tuning).model.module.state_dict()
    old = given.module.state_dict()
    moved = {name.partition(".")[0] for name in old if not torch.equal(found[name], old[name])}
    assert moved == set(LAYERS[LAYERS.index(first) :])


def test_a_position_behind_every_parameter() -> None:
    images, labels = images_and_labels(4)

    class Ends(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.end = torch.nn.Conv2d(3, 4, 3), torch.nn.Softplus()

        def forward(self, value: torch.Tensor) -> torch.Tensor:
            return self.end(torch.relu(self.body(value)).mean((2, 3)))

    given = model()
    given.module = Ends().double()
    with pytest.raises(RuleError, match="nothing to train"):
        linearize(given, 0, images, labels, tuning=Tuning(train_from="end"))
    with pytest.raises(RuleError, match="'tail'"):
        linearize(given, 0, images, labels, tuning=Tuning(train_from="tail"))
