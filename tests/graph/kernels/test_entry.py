"""A branch's first convolution measures the norm of the gradient that it does not compute."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from passes import with_passes
from torch import nn

import linbp
from linbp.graph import Plan, Structure, image_norms
from linbp.graph.engine.branch import BranchModule
from linbp.graph.engine.mode import BackwardMode
from linbp.graph.kernels.entry import Entry
from linbp.rules.linbp import RebalancedBranch


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers in float64."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def measured(
    entry: Entry, mode: BackwardMode, result: torch.Tensor, fork: torch.Tensor, gradient: torch.Tensor
) -> torch.Tensor:
    """What a backward pass that ends at the entry leaves."""
    with mode.as_ordinary(entry):
        (nothing,) = torch.autograd.grad(result, fork, gradient, retain_graph=True, allow_unused=True)
        assert nothing is None
        assert mode.norms is not None
        return mode.norms


def test_it_is_the_convolution_and_its_norms_are_those_of_the_gradient() -> None:
    mode = BackwardMode()
    weight, bias, fork = draw(3, 8, 1, 1), draw(3), draw(4, 8, 5, 6, seed=1).requires_grad_()
    entry = Entry(weight, bias, mode)
    result, expected = entry(fork), nn.functional.conv2d(fork, weight, bias)
    assert torch.equal(result, expected)
    gradient = draw(*result.shape, seed=2)
    (passed,) = torch.autograd.grad(result, fork, gradient, retain_graph=True)
    (ordinary,) = torch.autograd.grad(expected, fork, gradient)
    assert torch.allclose(passed, ordinary, rtol=0, atol=1e-12)
    norms = measured(entry, mode, result, fork, gradient)
    assert torch.allclose(norms, image_norms(ordinary), rtol=1e-12, atol=0)
    assert mode.norms is None
    assert mode.measured_at is None
    assert not mode.ordinary


def test_a_gradient_that_nearly_cancels_keeps_its_digits_in_float32() -> None:
    mode = BackwardMode()
    weight = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0 + 1e-4]])[:, :, None, None]
    fork = torch.zeros(1, 3, 1, 1, requires_grad=True)
    gradient = torch.tensor([1.0, -1.0])[None, :, None, None]  # z' W W' z would be 1e-8 left of sums near 3
    entry = Entry(weight, None, mode)
    found = measured(entry, mode, entry(fork), fork, gradient)
    exact = (weight[0, 2] - weight[1, 2]).abs().double()
    assert found.double().item() == pytest.approx(exact.item(), rel=1e-2)


class Bottleneck(nn.Module):
    """relu(x + W3 relu(W2 relu(W1 x))) with a head; `middle` channels inside."""

    def __init__(self, middle: int, stride: int = 1) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.first = nn.Conv2d(8, middle, 1, stride=stride)
        self.second = nn.Conv2d(middle, middle, 3, padding=1)
        self.third = nn.Conv2d(middle, 8, 1)
        self.skip = nn.Conv2d(8, 8, 1, stride=stride) if stride > 1 else nn.Identity()
        self.head = nn.Linear(8, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        fork = torch.relu(self.stem(images))
        inside = torch.relu(self.second(torch.relu(self.first(fork))))
        logits: torch.Tensor = self.head(torch.relu(self.skip(fork) + self.third(inside)).mean((2, 3)))
        return logits


@pytest.mark.parametrize(("middle", "stride", "used"), [(4, 1, True), (8, 1, False), (16, 1, False), (4, 2, False)])
def test_is_used_in_bottlenecks(middle: int, stride: int, used: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Bottleneck(middle, stride)
    surrogate = linbp.Surrogate(linbp.Model(module, input_size=(3, 8, 8)), rule=linbp.LinBP(start=1), cache=False)
    (branch,) = [child for child in surrogate._network.modules() if isinstance(child, BranchModule)]
    found = [child for child in branch.network.modules() if isinstance(child, Entry)]
    assert len(found) == used
    assert (branch.entry in found) == used
    ends: list[bool] = []
    compute = Entry.gradient

    def observed(entry: Entry, gradient: torch.Tensor) -> torch.Tensor | None:
        passed = compute(entry, gradient)
        ends.append(passed is None)
        return passed

    monkeypatch.setattr(Entry, "gradient", observed)
    surrogate.gradient(draw(2, 3, 8, 8).abs().clamp(max=1).float(), [0, 1])
    assert ends == ([False, True] if used else [])  # the rule's walk to the fork, the ordinary one only so far


class TwoWays(nn.Module):
    """x + f(x) with a head, f of two convolutions from many channels to few, and one back."""

    def __init__(self, branch: Callable[[TwoWays, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.stem, self.left, self.right = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)
        self.back, self.head, self.branch = nn.Conv2d(4, 8, 3, padding=1), nn.Linear(8, 4), branch

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        fork = self.stem(images)
        logits: torch.Tensor = self.head((fork + self.branch(self, fork)).mean((2, 3)))
        return logits


class Rescaled:
    """Branches are rescaled, and no activation is linear: the shared walk ends at the branch's first operation."""

    def plan(self, structure: Structure) -> Plan:
        return Plan(branches={junction.index: RebalancedBranch(0.5) for junction in structure.junctions})


@pytest.mark.parametrize(
    ("branch", "rule", "expected"),
    [
        (lambda n, x: n.back(torch.relu(n.left(x))), linbp.LinBP(start=0), 1),
        (lambda n, x: n.back(torch.relu(n.left(x)) * n.right(x)), linbp.LinBP(start=0), 0),  # read twice
        (lambda n, x: n.back(torch.relu(n.left(torch.relu(x)))), linbp.LinBP(start=0), 0),  # no convolution first
        (lambda n, x: n.back(torch.relu(n.left(x))), Rescaled(), 0),  # both walks share all of it
        (lambda n, x: n.back(torch.relu(n.left(x))), linbp.LinBP(start=0, rebalance="site"), 0),
    ],
)
def test_branches_with_and_without_it_have_the_same_gradients(
    branch: Callable[[TwoWays, torch.Tensor], torch.Tensor], rule: linbp.Rule, expected: int
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = TwoWays(branch).double()
    surrogate = linbp.Surrogate(linbp.Model(module, input_size=(3, 8, 8)), cache=False)
    (changed, counts), (plain, _) = with_passes(surrogate, rule, "entry"), with_passes(surrogate, rule)
    assert counts == {"entry": expected}
    images = draw(2, 3, 8, 8).abs().clamp(max=1)
    found, ordinary = changed.gradient(images, [0, 1]), surrogate.gradient(images, [0, 1])
    assert torch.allclose(found, plain.gradient(images, [0, 1]), rtol=1e-12, atol=1e-15)
    assert not torch.allclose(found, ordinary)
