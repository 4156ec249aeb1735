"""Networks that answer with more than logits: `logits` is taken, and without it the keys are named."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import nn

import linbp
from linbp.errors import ModelError


class Answer(NamedTuple):
    features: torch.Tensor
    logits: torch.Tensor


class Network(nn.Module):
    """Logits and features, in one of several forms; dropout is on in training mode."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.convolution, self.dropout = form, nn.Conv2d(3, 4, 3), nn.Dropout(0.5)
        self.last = nn.Linear(4, 5)

    def forward(self, images: torch.Tensor) -> object:
        features = torch.relu(self.convolution(images)).mean((2, 3))
        logits = self.last(self.dropout(features))
        if self.form == "tensor":
            return logits
        if self.form == "named":
            return Answer(features, logits)
        names = {"dict": "logits", "other": "scores"}
        return {"features": features, names[self.form]: logits}


def build(form: str) -> linbp.Model:
    torch.manual_seed(0)
    return linbp.Model(Network(form), input_size=8, mean=0.5)


@pytest.mark.parametrize("form", ["dict", "named"])
def test_logits_and_gradients_are_those_of_the_tensor(form: str) -> None:
    model, plain = build(form), build("tensor")
    assert model.module.training
    images, labels = torch.rand(3, 3, 8, 8), torch.tensor([0, 1, 2])
    torch.testing.assert_close(model.logits(images), plain.logits(images), rtol=0, atol=0)
    found = linbp.Surrogate(model, cache=False).gradient(images, labels)
    torch.testing.assert_close(found, linbp.Surrogate(plain, cache=False).gradient(images, labels))
    assert isinstance(model.module, Network)
    assert model.module.training


def test_without_logits_the_keys_are_named() -> None:
    with pytest.raises(ModelError, match=r"'features', 'scores'"):
        build("other").logits(torch.rand(2, 3, 8, 8))
    with pytest.raises(ModelError, match=r"'features', 'scores'"):
        linbp.Surrogate(build("other"), cache=False)
