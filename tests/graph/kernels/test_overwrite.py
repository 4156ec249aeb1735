"""An operation writes over its input where nothing reads that again, and nowhere else; no bit changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
import torch
from passes import random_images, seeded, with_passes
from torch import nn
from torch.nn import functional

import linbp

SIDE = 8


class Network(nn.Module):
    """Two convolutions of the same width and a linear layer, put together by a function."""

    def __init__(self, body: Callable[[Network, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.head, self.body = nn.Linear(4, 5), body

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.body(self, images).mean((2, 3)))
        return logits


def twice(network: Network, images: torch.Tensor) -> torch.Tensor:
    value = network.first(images)
    return network.second(torch.relu(value)) * value


def block(network: Network, images: torch.Tensor) -> torch.Tensor:
    fork = torch.relu(network.first(images))
    return torch.relu(network.second(fork) + fork)


def before_activation(network: Network, images: torch.Tensor) -> torch.Tensor:
    fork = network.first(images)
    return fork + network.second(torch.relu(fork))


def itself(network: Network, images: torch.Tensor) -> torch.Tensor:
    value = network.first(images)
    return torch.add(value, value)


def of_the_images(network: Network, images: torch.Tensor) -> torch.Tensor:
    return network.first(torch.relu(images))


def broadcast(network: Network, images: torch.Tensor) -> torch.Tensor:
    one_pixel = functional.conv2d(images, network.first.weight, stride=SIDE)
    return one_pixel + network.first(images)


def in_a_row(network: Network, images: torch.Tensor) -> torch.Tensor:
    return torch.relu(network.second(functional.relu6(network.second(torch.relu(network.first(images))))))


BODIES: dict[str, tuple[Callable[[Network, torch.Tensor], torch.Tensor], int]] = {
    "activations in a row": (in_a_row, 3),
    "one that clips": (lambda n, x: functional.hardtanh(n.first(x)), 1),
    "a block: activation, sum, activation": (block, 3),
    "a block whose activation comes first: the sum, whose first operand the branch reads too": (before_activation, 0),
    "an activation whose input is read again": (twice, 0),
    "an activation whose derivative needs its input": (lambda n, x: functional.silu(n.first(x)), 0),
    "an activation of what keeps its result": (lambda n, x: functional.relu6(torch.exp(n.first(x))), 0),
    "an activation of the images": (of_the_images, 0),
    "a sum with itself": (itself, 0),
    "a sum larger than its first operand": (broadcast, 0),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("body", BODIES)
def test_bits_are_the_same_and_so_is_what_the_module_computes(body: str, dtype: torch.dtype) -> None:
    make, expected = BODIES[body]
    module, images = seeded(lambda: Network(make), dtype), random_images(2, SIDE, dtype)
    surrogate = linbp.Surrogate(linbp.Model(module, input_size=(3, SIDE, SIDE)), cache=False)
    given = images.clone()
    (changed, counts), (plain, _) = with_passes(surrogate, None, "overwrite"), with_passes(surrogate, None)
    assert counts == {"overwrite": expected}
    assert torch.equal(changed.run(images), plain.run(images))
    assert torch.equal(changed.gradient(images, [0, 1]), plain.gradient(images, [0, 1]))
    assert torch.equal(images, given)
    loss = functional.cross_entropy(module(images.requires_grad_()), torch.tensor([0, 1]), reduction="sum")
    (gradient,) = torch.autograd.grad(loss, images)
    assert torch.allclose(changed.gradient(images, [0, 1]), gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("rebalance", "expected"),
    [(None, 3), ("site", 2)],  # what scales the gradient keeps the input of a relu6, whose output tells less
)
def test_linear_activations_write_over_inputs_that_nothing_keeps(
    rebalance: Literal["site"] | None, expected: int
) -> None:
    module, images = seeded(lambda: Network(in_a_row), torch.float64), random_images(2, SIDE, torch.float64)
    surrogate = linbp.Surrogate(linbp.Model(module, input_size=(3, SIDE, SIDE)), cache=False)
    rule = linbp.LinBP(start=0, rebalance=rebalance)
    (changed, counts), (plain, _) = with_passes(surrogate, rule, "overwrite"), with_passes(surrogate, rule)
    assert counts == {"overwrite": expected}
    assert torch.equal(changed.run(images), plain.run(images))
    assert torch.equal(changed.gradient(images, [0, 1]), plain.gradient(images, [0, 1]))


class Block(nn.Module):
    """conv, activation, conv beside an identity, behind and in front of a convolution; perhaps activated first."""

    def __init__(self, activation: Callable[[torch.Tensor], torch.Tensor], first: bool) -> None:
        super().__init__()
        self.stem, self.left, self.right = (nn.Conv2d(a, 4, 3, padding=1) for a in (3, 4, 4))
        self.head, self.activation, self.first = nn.Linear(4, 5), activation, first

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        fork = self.stem(images)
        inside = self.activation(self.left(self.activation(fork) if self.first else fork))
        logits: torch.Tensor = self.head((self.right(inside) + fork).mean((2, 3)))
        return logits


@pytest.mark.parametrize(
    ("activation", "first", "expected"),
    [
        (torch.relu, False, 2),  # the activation in the branch, and the sum over the branch's value
        (torch.relu, True, 2),  # not the branch's first activation: the skip reads its input
        (functional.relu6, False, 1),  # the rule's two walks ask the activation's input for the derivative
    ],
)
def test_in_a_branch_that_is_walked_twice(
    activation: Callable[[torch.Tensor], torch.Tensor], first: bool, expected: int
) -> None:
    module = seeded(lambda: Block(activation, first), torch.float64)
    surrogate = linbp.Surrogate(linbp.Model(module, input_size=(3, SIDE, SIDE)), cache=False)
    rule, images = linbp.LinBP(start=0), random_images(2, SIDE, torch.float64)
    changed, counts = with_passes(surrogate, rule, "overwrite")
    plain, _ = with_passes(surrogate, rule)
    assert counts == {"overwrite": expected}
    assert torch.equal(changed.run(images), plain.run(images))
    assert torch.equal(changed.gradient(images, [0, 1]), plain.gradient(images, [0, 1]))
