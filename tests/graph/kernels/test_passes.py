"""Each pass over a finished graph leaves values and gradients what they are, and counts what it changed."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from torch import fx, nn

import linbp
from linbp.graph.engine.branch import BranchModule
from linbp.graph.engine.rewrite import rewrite
from linbp.graph.kernels import PASSES, accelerate
from linbp.graph.kernels.overwrite import overwrite

SIDE = 16
AGREEMENT = {torch.float64: 1e-13, torch.float32: 2e-6}
"""Largest relative difference: sums in another order round otherwise, and no more."""


class Bottleneck(nn.Module):
    """A 1 x 1, a wide 3 x 3 and a 1 x 1 convolution beside an identity, with the same inside."""

    def __init__(self, wide: int, middle: int, inner: nn.Module) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(wide, middle, 1), nn.Conv2d(middle, middle, 3, padding=1)
        self.third, self.inner = nn.Conv2d(middle, wide, 1), inner

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        inside = torch.relu(self.second(torch.relu(self.first(value))))
        return torch.relu(value + self.third(self.inner(inside)))


class Every(nn.Module):
    """A strided stem, a block inside a block, and plain activations: every pass finds something here."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 272, 7, 2, 3)
        self.block = Bottleneck(272, 264, Bottleneck(264, 256, nn.Identity()))
        self.head = nn.Linear(272, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(torch.relu(self.stem(images))).mean((2, 3)))


@pytest.fixture(scope="module", params=[torch.float32, torch.float64], ids=["float32", "float64"])
def surrogate(request: pytest.FixtureRequest) -> linbp.Surrogate:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = Every().to(request.param)
    return linbp.Surrogate(linbp.Model(module, input_size=(3, SIDE, SIDE)))


RULES = {"ordinary": None, "branches": linbp.LinBP(start=0), "sites": linbp.LinBP(start=0, rebalance="site")}


def images(dtype: torch.dtype) -> torch.Tensor:
    return torch.rand(3, 3, SIDE, SIDE, dtype=dtype, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", PASSES)
def test_a_pass_changes_no_value_and_no_gradient(surrogate: linbp.Surrogate, name: str, rule: str) -> None:
    with mock.patch.dict(PASSES):
        PASSES.pop(name)
        without = surrogate.with_rule(RULES[rule])
    whole, given = surrogate.with_rule(RULES[rule]), images(surrogate.dtype)
    for found, expected in (
        (whole.run(given), without.run(given)),
        (whole.gradient(given, [0, 1, 2]), without.gradient(given, [0, 1, 2])),
    ):
        assert (found - expected).norm() <= AGREEMENT[surrogate.dtype] * expected.norm()


def test_each_pass_finds_what_it_is_for(surrogate: linbp.Surrogate) -> None:
    """Stem and two 3 x 3 convolutions have faster forms in float32; overwriting and measuring know no dtype."""
    counts: dict[str, int] = dict.fromkeys(PASSES, 0)

    def counted(name: str) -> object:
        original = PASSES[name]

        def apply(network: fx.GraphModule) -> int:
            changed = original(network)
            counts[name] += changed
            return changed

        return apply

    with mock.patch.dict(PASSES, {name: counted(name) for name in PASSES}):  # type: ignore[misc]
        surrogate.with_rule(linbp.LinBP(start=0))
    single = surrogate.dtype == torch.float32
    assert counts["stem"] == (1 if single else 0)
    assert counts["winograd"] == (2 if single else 0)
    assert counts["entry"] == 2  # the branch, and the one inside it
    assert counts["overwrite"] >= 6


def test_branches_inside_branches_measure_in_their_own_first_convolution(surrogate: linbp.Surrogate) -> None:
    modules = surrogate.with_rule(linbp.LinBP(start=0))._network.modules()
    entries = [branch.entry for branch in modules if isinstance(branch, BranchModule)]
    assert len(entries) == 2
    assert None not in entries
    assert entries[0] is not entries[1]


class ReadsTwice(nn.Module):
    """A value that an activation and something else read may not be written over."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = self.first(images)
        both = self.second(torch.relu(value)).mean((2, 3)) + value.mean((2, 3))
        return both * both.exp()


def test_what_is_read_again_is_not_written_over() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = ReadsTwice().double()
    captured = linbp.Surrogate(linbp.Model(module, input_size=(3, 8, 8)))
    plain = rewrite(captured._ordinary, captured.structure, captured.plan)
    assert overwrite(plain) == 0
    given = torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    (expected,) = torch.autograd.grad(module(given).sum(), given)
    (found,) = torch.autograd.grad(accelerate(plain)(given).sum(), given)
    assert torch.allclose(found, expected, rtol=1e-12)
