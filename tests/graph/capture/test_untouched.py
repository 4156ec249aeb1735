"""What belongs to the user stays as it was: flags, hooks, gradients, buffers, weights and every random state."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from linbp import LinBP, Model, Surrogate
from linbp.errors import CaptureError, LinbpError, RuleError


class Network(nn.Module):
    """Dropout and batch norm, which training mode would let loose."""

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.relu, self.dropout, self.head = nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(4, 5)
        self.fault = fault

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = self.dropout(self.relu(self.norm(self.conv(images))))
        if self.fault == "item" and value.mean().item() > 0:
            value = value + 1
        if self.fault == "raise":
            raise ValueError("a fault of the user's own")
        logits: torch.Tensor = self.head(value.mean((2, 3)))
        return logits / 0 if self.fault == "infinite" else logits


def facts(module: nn.Module) -> dict[str, Any]:
    """Everything that could have been changed."""
    return {
        "state": copy.deepcopy(module.state_dict()),
        "addresses": {name: tensor.data_ptr() for name, tensor in module.state_dict().items()},
        "gradients": {
            name: None if value.grad is None else value.grad.clone() for name, value in module.named_parameters()
        },
        "requires": {name: value.requires_grad for name, value in module.named_parameters()},
        "versions": {name: value._version for name, value in module.named_parameters()},
        "training": {name: child.training for name, child in module.named_modules()},
        "hooks": {
            name: [
                list(getattr(child, kind))
                for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
            ]
            for name, child in module.named_modules()
        },
        "attributes": {name: sorted(vars(child)) for name, child in module.named_modules()},
        "classes": {name: type(child) for name, child in module.named_modules()},
        "torch": torch.get_rng_state(),
        "numpy": [value.tolist() if isinstance(value, np.ndarray) else value for value in np.random.get_state()],
        "python": random.getstate(),
        "grad mode": torch.is_grad_enabled(),
        "default dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
    }


def same(first: Any, second: Any) -> bool:
    """Equality that looks into tensors."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    return bool(first == second)


@pytest.fixture
def module() -> Network:
    """In training mode but for one child, with gradients, one frozen parameter and hooks of every kind."""
    module = Network()
    module.train()
    module.norm.eval()
    module(torch.rand(2, 3, 8, 8)).sum().backward()
    module.head.bias.requires_grad_(False)
    module.conv.register_forward_hook(lambda child, given, result: None)
    module.relu.register_forward_pre_hook(lambda child, given: None)
    module.head.register_full_backward_hook(lambda child, given, result: None)
    return module


def use(module: nn.Module) -> None:
    """All of a surrogate's life."""
    surrogate = Surrogate(Model(module, input_size=(3, 8, 8)), LinBP(start=0))
    images = torch.full((3, 3, 8, 8), 0.5)
    surrogate.gradient(images, [0, 1, 2])
    surrogate.logits(images)
    surrogate.with_rule(LinBP(start=0, rebalance="site")).gradient(images, [0, 1, 2])
    surrogate.identity()


def test_a_surrogate_leaves_everything_as_it_was(module: Network) -> None:
    before = facts(module)
    use(module)
    after = facts(module)
    assert {key for key in before if not same(before[key], after[key])} == set()


@pytest.mark.parametrize(
    ("fault", "error"), [("item", CaptureError), ("raise", CaptureError), ("infinite", LinbpError)]
)
def test_a_failure_leaves_everything_as_it_was(module: Network, fault: str, error: type[Exception]) -> None:
    module.fault = fault
    before = facts(module)
    with pytest.raises(error):
        use(module)
    after = facts(module)
    assert {key for key in before if not same(before[key], after[key])} == set()


def test_a_rule_that_does_not_fit_leaves_everything_as_it_was(module: Network) -> None:
    before = facts(module)
    with pytest.raises(RuleError):
        Surrogate(Model(module, input_size=(3, 8, 8)), LinBP(start="nowhere"))
    after = facts(module)
    assert {key for key in before if not same(before[key], after[key])} == set()


def test_the_surrogate_is_a_copy(module: Network) -> None:
    """Training goes on without reaching the surrogate, and the surrogate's gradients need none of the parameters."""
    surrogate = Surrogate(Model(module, input_size=(3, 8, 8)), cache=False)
    images = torch.rand(2, 3, 8, 8)
    before = surrogate.gradient(images, [0, 1])
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    assert torch.equal(surrogate.gradient(images, [0, 1]), before)
    assert all(not tensor.requires_grad for tensor in surrogate._network.buffers())


def test_the_images_and_labels_are_not_changed(module: Network) -> None:
    surrogate = Surrogate(Model(module, input_size=(3, 8, 8), mean=(0.5,) * 3, std=(0.2,) * 3), cache=False)
    images, labels = torch.rand(2, 3, 8, 8, requires_grad=True), torch.tensor([0, 1])
    kept, numbers = images.detach().clone(), labels.clone()
    gradient = surrogate.gradient(images, labels)
    assert torch.equal(images.detach(), kept)
    assert torch.equal(labels, numbers)
    assert images.grad is None
    assert images.requires_grad
    assert not gradient.requires_grad


def test_hooks_that_change_the_value_are_part_of_the_network(module: Network) -> None:
    plain = Surrogate(Model(module, input_size=(3, 8, 8)))
    module.conv.register_forward_hook(lambda child, given, result: result * 2)
    doubled = Surrogate(Model(module, input_size=(3, 8, 8)))
    images = torch.rand(2, 3, 8, 8)
    assert torch.allclose(doubled.logits(images), doubled.model.logits(images), atol=1e-6)
    assert not torch.allclose(doubled.logits(images), plain.logits(images), atol=1e-4)


def test_gradients_are_taken_also_where_the_caller_switched_them_off(module: Network) -> None:
    surrogate = Surrogate(Model(module, input_size=(3, 8, 8)), cache=False)
    images = torch.rand(2, 3, 8, 8)
    expected = surrogate.gradient(images, [0, 1])
    with torch.no_grad():
        assert torch.equal(surrogate.gradient(images, [0, 1]), expected)
        again = Surrogate(Model(module, input_size=(3, 8, 8)), LinBP(start=0), cache=False)
    with torch.no_grad():
        assert bool(torch.isfinite(again.gradient(images, [0, 1])).all())
