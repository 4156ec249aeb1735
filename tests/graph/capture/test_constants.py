"""The copies of parameters that a captured graph computes with."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from linbp import Model, Surrogate


class Tied(nn.Module):
    """Two layers of other names with the same memory, one with a view of it, and one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.other = (nn.Linear(12, 12).double() for _ in range(3))
        self.second.weight = nn.Parameter(self.first.weight.detach())
        self.third, self.head = nn.Linear(12, 6).double(), nn.Linear(6, 5).double()
        self.third.weight = nn.Parameter(self.first.weight.detach()[:6])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = functional.relu(self.first(images.flatten(1)))
        value = functional.relu(self.second(value)) + self.other(value)
        logits: torch.Tensor = self.head(self.third(value))
        return logits


def test_weights_that_are_the_same_memory_are_copied_once() -> None:
    torch.manual_seed(0)
    module = Tied().eval()
    surrogate = Surrogate(Model(module, input_size=(3, 2, 2)), cache=False)
    images = torch.rand(3, 3, 2, 2, dtype=torch.float64)
    leaf = images.clone().requires_grad_()
    expected = module(leaf)
    (gradient,) = torch.autograd.grad(
        functional.cross_entropy(expected, torch.tensor([0, 1, 2]), reduction="sum"), leaf
    )
    assert torch.allclose(surrogate.logits(images), expected.detach(), rtol=1e-12)
    assert torch.allclose(surrogate.gradient(images, [0, 1, 2]), gradient, rtol=1e-10)
    kept = [tensor for tensor in surrogate._capture.network.buffers() if tensor.shape == (12, 12)]
    assert len({tensor.data_ptr() for tensor in kept}) == 2  # the tied one, and the other
    mine = {tensor.data_ptr() for tensor in module.parameters()}
    assert mine.isdisjoint(tensor.data_ptr() for tensor in surrogate._capture.network.buffers())
