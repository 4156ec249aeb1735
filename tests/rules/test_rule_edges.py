"""Rules at the edges: dead branches, open branches, tiny gradients, what reaches nothing, and what two rules do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from residual_networks import Written, build
from torch import nn
from torch.nn import functional

from linbp import SGM, LinBP, Model, Surrogate
from linbp.errors import RecipeError, RuleError

SIZE = (3, 8, 8)


def capture(module: nn.Module, rule: object = None) -> Surrogate:
    """A surrogate of a module in its own dtype, in evaluation mode."""
    return Surrogate(Model(module.eval(), input_size=SIZE), rule, cache=False)  # type: ignore[arg-type]


def images(dtype: torch.dtype = torch.float64, count: int = 2) -> torch.Tensor:
    return torch.rand(count, *SIZE, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(dtype)


def dead(network: Written, *, norm: int) -> Written:
    """Block 0's batch norm of that number gives -1 everywhere: what follows it is masked, its own gain is 1."""
    with torch.no_grad():
        block = network.blocks[0]  # type: ignore[index]
        block.norms[norm].running_mean.fill_(1e6)
    return network


RULES: dict[str, Callable[[], object]] = {
    "branch": lambda: LinBP(start=0),
    "site": lambda: LinBP(start=0, rebalance="site"),
    "none": lambda: LinBP(start=0, rebalance=None),
    "sgm": lambda: [LinBP(start=0), SGM(gamma=0.5)],
}


@pytest.mark.parametrize("rule", RULES)
def test_a_branch_that_is_masked_has_no_gradient_in_the_ordinary_norm(rule: str) -> None:
    """v = 0: the branch gives nothing, where the rule scales; u itself, where it does not."""
    network = dead(build("post-activation"), norm=0)
    surrogate = capture(network, RULES[rule]())
    block = network.blocks[0]  # type: ignore[index]
    first = block.convolutions[0]
    gradient = surrogate.gradient(images(), [0, 1])
    assert bool(torch.isfinite(gradient).all())
    with torch.no_grad():
        first.weight.mul_(2)  # a changed linear map in the dead branch is seen only where u is not scaled by v = 0
        block.norms[0].running_mean.fill_(2e6)
    again = capture(network, RULES[rule]()).gradient(images(), [0, 1])
    assert torch.allclose(again, gradient, rtol=1e-10) is (rule != "none")


@pytest.mark.parametrize("rule", RULES)
def test_zero_over_zero_is_zero(rule: str) -> None:
    """A last norm of gain 0, as at the start of many trainings: u = v = 0, and the gradient is the skip's alone."""
    network = build("post-activation")
    for block in network.blocks:  # type: ignore[union-attr]
        nn.init.zeros_(block.norms[-1].weight)
    gradient = capture(network, RULES[rule]()).gradient(images(), [0, 1])
    assert bool(torch.isfinite(gradient).all())
    alone = capture(network, SGM(gamma=0.0)).gradient(images(), [0, 1])
    linear_stem = capture(network, [LinBP(start=0, sites="outside"), SGM(gamma=0.0)]).gradient(images(), [0, 1])
    expected = linear_stem if rule != "site" else None
    assert not torch.allclose(alone, linear_stem)
    if expected is not None:
        assert torch.allclose(gradient, expected, rtol=1e-10)


@pytest.mark.parametrize("rebalance", ["branch", "site"])
def test_a_network_whose_gradient_is_zero_gives_zero(rebalance: str) -> None:
    network = build("bottleneck")
    nn.init.zeros_(network.head.weight)  # type: ignore[union-attr, arg-type]
    gradient = capture(network, LinBP(start=0, rebalance=rebalance)).gradient(images(), [0, 1])
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("rebalance", ["branch", "site"])
@pytest.mark.parametrize("scale", [1e-25, 1e15])
def test_gradients_whose_squares_leave_float32_keep_their_ratio(rebalance: str, scale: float) -> None:
    network = build("post-activation").float()
    with torch.no_grad():
        network.head.weight.mul_(0.1)  # type: ignore[union-attr, operator]
    surrogate = capture(network)
    x = images(torch.float32)

    def gradient(factor: float) -> torch.Tensor:
        ruled = surrogate.with_rule(LinBP(start=0, rebalance=rebalance))
        leaf = x.clone().requires_grad_()
        (found,) = torch.autograd.grad(ruled.run(leaf)[:, 0].sum() * factor, leaf)
        return found

    assert torch.allclose(gradient(scale) / scale, gradient(1.0), rtol=1e-3, atol=1e-5)


class Open(nn.Module):
    """A branch whose inner value is read outside it too: not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        value = self.stem(value)
        inner = functional.relu(self.first(value))
        value = value + self.second(inner)
        value = functional.relu(self.last(value))
        logits: torch.Tensor = self.head(torch.cat([value, inner], 1).mean((2, 3)))
        return logits


def test_sites_of_an_open_branch_stay_ordinary_where_a_ratio_is_asked_for() -> None:
    torch.manual_seed(0)
    surrogate = capture(Open().double())
    (junction,) = surrogate.junctions
    assert not junction.closed
    assert [site.kind for site in surrogate.sites] == ["in a branch", "plain"]
    ruled = surrogate.with_rule(LinBP(start=0))
    assert any("not closed" in note for note in ruled.notes)
    with_one = surrogate.with_rule(LinBP(start=1))
    assert torch.equal(ruled.gradient(images(), [0, 1]), with_one.gradient(images(), [0, 1]))
    without_ratio = surrogate.with_rule(LinBP(start=0, rebalance=None))
    assert not any("not closed" in note for note in without_ratio.notes)
    assert not torch.allclose(ruled.gradient(images(), [0, 1]), without_ratio.gradient(images(), [0, 1]))
    assert torch.isfinite(surrogate.with_rule(SGM(gamma=0.5)).gradient(images(), [0, 1])).all()


def test_no_rescaling_on_an_open_branch_is_plain_linearity() -> None:
    """The branch that is not closed, by hand: both ways out of its activation are linear."""
    torch.manual_seed(0)
    module = Open().double()
    ruled = capture(module, LinBP(start=0, rebalance=None, gamma=0.5))
    leaf = images().requires_grad_()

    def linear(value: torch.Tensor) -> torch.Tensor:
        return value + (functional.relu(value) - value).detach()

    stem = module.stem(leaf)
    inner = linear(module.first(stem))
    through = module.second(inner)
    through = 0.5 * through + (0.5 * through).detach()
    last = linear(module.last(stem + through))
    logits = module.head(torch.cat([last, inner], 1).mean((2, 3)))
    (expected,) = torch.autograd.grad(functional.cross_entropy(logits, torch.tensor([0, 1]), reduction="sum"), leaf)
    assert torch.allclose(ruled.gradient(images(), [0, 1]), expected, rtol=1e-10)


class OpenOnly(Open):
    """Only the open branch has an activation."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        value = self.stem(value)
        inner = functional.relu(self.first(value))
        logits: torch.Tensor = self.head(torch.cat([value + self.second(inner), inner], 1).mean((2, 3)))
        return logits


def test_only_open_branches_is_an_error_that_says_what_to_do() -> None:
    surrogate = capture(OpenOnly().double())
    with pytest.raises(RuleError, match="branches") as caught:
        surrogate.with_rule(LinBP(start=0))
    assert "rebalance" in caught.value.hint
    assert surrogate.with_rule(LinBP(start=0, rebalance="site")).plan.sites


def test_a_rule_that_reaches_no_site_says_what_there_is() -> None:
    surrogate = capture(build("post-activation"))
    last = len(surrogate.sites) - 1
    with pytest.raises(RuleError, match="after a sum"):
        surrogate.with_rule(LinBP(start=last))
    with pytest.raises(RuleError, match="no site 99"):
        surrogate.with_rule(LinBP(start=99))
    with pytest.raises(RuleError, match="site 1"):
        surrogate.with_rule(LinBP(start=3, sites=[1]))
    with pytest.raises(RuleError, match=r"gamma=0\.5"):
        surrogate.with_rule(LinBP(start=0, sites="outside", gamma=0.5))


def test_a_network_without_sums_refuses_sgm_and_gamma() -> None:
    chain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    with pytest.raises(RuleError, match="no residual sum"):
        capture(chain, SGM())
    with pytest.raises(RuleError, match="gamma"):
        capture(chain, LinBP(start=0, gamma=0.5))


def test_a_network_without_activations_refuses_linbp() -> None:
    with pytest.raises(RuleError, match="no activation"):
        capture(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), LinBP(start=0))


def test_a_gate_that_is_asked_for_by_number_is_linear_and_its_branch_keeps_the_ratio() -> None:
    surrogate = capture(build("squeeze and excitation"))
    gates = [site.index for site in surrogate.sites if site.kind == "gate"]
    ruled = surrogate.with_rule(LinBP(start=0, sites=gates))
    assert list(ruled.plan.sites) == gates
    assert set(ruled.plan.branches) == {surrogate.sites[index].junction for index in gates}
    assert not any("ordinary" in note for note in ruled.notes)
    found = ruled.gradient(images(), [0, 1])
    assert bool(torch.isfinite(found).all())
    assert not torch.allclose(found, surrogate.gradient(images(), [0, 1]))


def test_two_rules_on_the_same_sites_are_refused() -> None:
    surrogate = capture(build("post-activation"))
    with pytest.raises(RuleError, match="same"):
        surrogate.with_rule([LinBP(start=0), LinBP(start=2)])
    both = surrogate.with_rule([LinBP(start=0, sites=[1]), LinBP(start=0, sites=[3])])
    one = surrogate.with_rule(LinBP(start=0, sites=[1, 3]))
    assert torch.allclose(both.gradient(images(), [0, 1]), one.gradient(images(), [0, 1]), rtol=1e-12)


@pytest.mark.parametrize(
    "settings",
    [
        {"start": 0, "rebalance": "block"},
        {"start": 0, "gamma": -0.1},
        {"start": 0, "gamma": float("nan")},
        {"start": 0, "sites": "some"},
        {"start": 0, "sites": []},
        {"start": 0, "sites": ["1"]},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        LinBP(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("gamma", [-0.1, 1.0, 1.1, float("nan"), True])
def test_a_gamma_that_sgm_cannot_have_is_refused(gamma: float) -> None:
    with pytest.raises(RecipeError):
        SGM(gamma=gamma)


def test_a_kind_of_skip_that_there_is_not_is_refused() -> None:
    with pytest.raises(RecipeError, match="all, identity, projection"):
        SGM(skips="projections")  # type: ignore[arg-type]


class Summed(nn.Module):
    """A branch that begins with a sum over places: its gradient is one number spread out without memory of its own."""

    def __init__(self, first: str) -> None:
        super().__init__()
        self.stem, self.mix, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Linear(4, 5)
        self.first = first

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        value = self.stem(value)
        pooled = value.sum((2, 3), keepdim=True) if self.first == "sum" else value
        value = functional.relu(self.mix(pooled) if self.first == "sum" else pooled) + value
        logits: torch.Tensor = self.head(value.sum((2, 3)))
        return logits


@pytest.mark.parametrize("first", ["sum", "nothing"])
def test_a_gradient_without_memory_of_its_own_is_scaled_like_any_other(first: str) -> None:
    torch.manual_seed(1)
    module = Summed(first).double()
    found = capture(module, LinBP(start=0)).gradient(images(), [0, 1])
    with torch.no_grad():
        stem = module.stem(images())
        hidden = module.mix(stem.sum((2, 3), keepdim=True)) if first == "sum" else stem
        logits = module.head((functional.relu(hidden) + stem).sum((2, 3)))
        at_logits = logits.softmax(1) - functional.one_hot(torch.tensor([0, 1]), 5)
        around = (at_logits @ module.head.weight)[:, :, None, None].expand_as(stem)
        into = around.sum((2, 3), keepdim=True) if first == "sum" else around

        def back(gradient: torch.Tensor) -> torch.Tensor:
            if first == "nothing":
                return gradient
            return functional.conv_transpose2d(gradient, module.mix.weight).expand_as(stem)

        linear, ordinary = back(into), back(into * (hidden > 0))
        ratio = (ordinary.flatten(1).norm(dim=1) / linear.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
        total = around + ratio * linear
        expected = nn.grad.conv2d_input(images().shape, module.stem.weight, total, padding=1)
    assert torch.allclose(found, expected, rtol=1e-10)
