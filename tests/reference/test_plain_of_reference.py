"""Pictures, labels, logits and plain gradients of the files of later attacks, on which their other numbers rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exhaustive import marked
from later_attacks import clean, labels, network_of, numbers, relative_error, surrogate

FILES = [
    *marked(("vit_tiny", "deit_tiny", "densenet121"), ("deit_tiny", "densenet121"), pytest.mark.slow),
    "resnet18_objectives",
    "resnet18_estimators",
    "resnet18_transforms",
]
TOLERANCE = 1e-6


@pytest.mark.parametrize("file", FILES)
def test_pictures_and_labels(file: str) -> None:
    name = network_of(file)
    assert np.array_equal((clean(name) * 255).round().numpy(), numbers(file)["images"])
    with torch.no_grad():
        assert torch.equal(surrogate(name).logits(clean(name)).argmax(1), labels(file))


@pytest.mark.parametrize("file", FILES[:-1])
def test_logits(file: str) -> None:
    """The transforms' file, the last one, has none."""
    name = network_of(file)
    assert relative_error(surrogate(name).logits(clean(name)), numbers(file)["logits"]) < TOLERANCE


@pytest.mark.parametrize("file", FILES[2:-1])
def test_plain_gradients(file: str) -> None:
    """Those of transformers are among their rules."""
    name = network_of(file)
    found = surrogate(name).gradient(clean(name), labels(file))
    assert relative_error(found, numbers(file)["grad_plain"]) < TOLERANCE
