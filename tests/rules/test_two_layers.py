"""LinBP where the answer can be written down: logits W2 act(W1 x)."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from linbp import LinBP, Model, Surrogate

INPUTS, HIDDEN, CLASSES = 12, 6, 4


class TwoLayers(nn.Module):
    """W2 relu(W1 x) on images of 3 x 2 x 2."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(INPUTS, HIDDEN, bias=False), nn.Linear(HIDDEN, CLASSES, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.second(torch.relu(self.first(images.flatten(1))))
        return logits


@functools.cache
def surrogate() -> Surrogate:
    torch.manual_seed(3)
    return Surrogate(Model(TwoLayers().double().eval(), input_size=(3, 2, 2)), cache=False)


def by_hand(images: np.ndarray, labels: list[int]) -> dict[str, np.ndarray]:
    """The gradients of cross-entropy: ordinary, linear, and linear with the ordinary norm at the activation."""
    module = surrogate().model.module
    first, second = module.first.weight.detach().numpy(), module.second.weight.detach().numpy()
    found: dict[str, list[np.ndarray]] = {"ordinary": [], "linear": [], "site": []}
    for image, label in zip(images.reshape(len(images), -1), labels, strict=True):
        hidden = first @ image
        logits = second @ np.maximum(hidden, 0)
        chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        at_hidden = second.T @ (chances - np.eye(CLASSES)[label])
        masked = at_hidden * (hidden > 0)
        found["ordinary"].append(first.T @ masked)
        found["linear"].append(first.T @ at_hidden)
        norm = np.sqrt((at_hidden**2).sum())
        found["site"].append(first.T @ (at_hidden * np.sqrt((masked**2).sum()) / norm) if norm else 0 * image)
    return {name: np.stack(values).reshape(images.shape) for name, values in found.items()}


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    values=st.lists(st.lists(st.integers(0, 255), min_size=INPUTS, max_size=INPUTS), min_size=1, max_size=4),
    labels=st.lists(st.integers(0, CLASSES - 1), min_size=4, max_size=4),
)
def test_the_gradient_is_the_one_written_down(values: list[list[int]], labels: list[int]) -> None:
    images = np.array(values, dtype=np.float64).reshape(-1, 3, 2, 2) / 255
    labels = labels[: len(images)]
    expected = by_hand(images, labels)
    rules = {
        "ordinary": None,
        "linear": LinBP(start=0),  # a chain has no branch: nothing is rescaled
        "site": LinBP(start=0, rebalance="site"),
    }
    for name, rule in rules.items():
        found = surrogate().with_rule(rule).gradient(torch.from_numpy(images), labels).numpy()
        np.testing.assert_allclose(found, expected[name], rtol=1e-10, atol=1e-14, err_msg=name)


def test_without_rebalancing_a_chain_is_the_same_as_with_branches() -> None:
    images = torch.rand(2, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gradients = [surrogate().with_rule(LinBP(start=0, rebalance=r)).gradient(images, [0, 1]) for r in ("branch", None)]
    assert torch.equal(gradients[0], gradients[1])


def test_a_black_image_has_no_gradient_in_its_masked_norm() -> None:
    """All of relu(W1 0) is on the edge: the ordinary gradient is 0, and so is the one of its norm, never NaN."""
    black = torch.zeros(1, 3, 2, 2, dtype=torch.float64)
    assert not surrogate().gradient(black, [0]).any()
    assert not surrogate().with_rule(LinBP(start=0, rebalance="site")).gradient(black, [0]).any()
    assert surrogate().with_rule(LinBP(start=0)).gradient(black, [0]).any()


@pytest.mark.parametrize("rebalance", ["branch", "site", None])
def test_logits_do_not_depend_on_the_rule(rebalance: str | None) -> None:
    images = torch.rand(3, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ruled = surrogate().with_rule(LinBP(start=0, rebalance=rebalance))
    expected = surrogate().model.logits(images)
    assert torch.allclose(ruled.logits(images), expected, rtol=1e-13)
    assert torch.allclose(ruled.run(images).detach(), expected, rtol=1e-13)
