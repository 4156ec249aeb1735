"""ConBP and BPA against `blocks_by_hand`, at their limits, and where they have nothing to act on."""

from __future__ import annotations

import copy
import functools
from typing import Literal

import pytest
import torch
from blocks_by_hand import Layer, RuleByHand, gradient_by_hand, linear_sites, numbered
from hypothesis import given, settings
from hypothesis import strategies as st
from residual_networks import NETWORKS, build
from torch import nn
from torch.nn import functional

from linbp import BPA, SGM, ConBP, LinBP, Model, Surrogate
from linbp.errors import RecipeError, RuleError
from linbp.graph import Operation, Plan, Structure

SIZE = (3, 8, 8)
TOLERANCE = 1e-10
Rule = BPA | ConBP | LinBP | SGM


@functools.cache
def captured(name: str, activation: str = "relu") -> tuple[Surrogate, Layer]:
    """One of the networks, captured, and written down by hand."""
    network = build(name, activation)
    written = network.by_hand()
    numbered(written)
    return Surrogate(Model(network, input_size=SIZE), cache=False), written


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Three images and their labels."""
    draw = torch.Generator().manual_seed(5)
    return torch.rand(3, *SIZE, generator=draw, dtype=torch.float64), torch.tensor([0, 3, 1])


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative L2 difference."""
    return float((found - expected).norm() / expected.norm())


def compare(name: str, rules: Rule | list[Rule], wanted: RuleByHand, activation: str = "relu") -> None:
    """The gradient and the logits of a rule, against the same by hand."""
    surrogate, network = captured(name, activation)
    images, labels = batch()
    ruled = surrogate.with_rule(rules)
    logits, expected = gradient_by_hand(network, images, labels, wanted)
    assert error(ruled.gradient(images, labels), expected) < TOLERANCE
    assert error(ruled.run(images), logits) < TOLERANCE


def sites(name: str, start: int, which: str | None) -> frozenset[int]:
    """The numbers of the sites that a rule takes from `start` on."""
    return linear_sites(captured(name)[1], start, which)


@pytest.mark.parametrize("slope", [0.5, 3.0])
@pytest.mark.parametrize("which", [None, "inside", "outside", "all"])
@pytest.mark.parametrize("name", NETWORKS)
def test_conbp_on_every_network(name: str, which: str | None, slope: float) -> None:
    smooth = sites(name, 1, which)
    rule = ConBP(start=1, slope=slope, sites=which)  # type: ignore[arg-type]
    if smooth:
        compare(name, rule, RuleByHand(smooth=smooth, smooth_by=slope))
    else:
        with pytest.raises(RuleError, match="conbp"):
            captured(name)[0].with_rule(rule)


@pytest.mark.parametrize("name", NETWORKS)
def test_bpa_on_every_network(name: str) -> None:
    """After sums too, and every max-pool, wherever it begins."""
    for start in range(len(captured(name)[0].sites)):
        smooth = sites(name, start, "all")
        if smooth:
            compare(name, BPA(start=start), RuleByHand(smooth=smooth, temperature=10.0))


def test_bpa_takes_the_activation_after_a_sum_unless_told_otherwise() -> None:
    surrogate, _ = captured("bottleneck")
    after = {site.index for site in surrogate.sites if site.kind == "after a sum"}
    assert after
    assert after <= set(surrogate.with_rule(BPA(start=0)).plan.sites)
    assert not after & set(surrogate.with_rule(BPA(start=0, sites=None)).plan.sites)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(["pooled", "nested", "bottleneck"]),
    start=st.integers(0, 3),
    temperature=st.sampled_from([0.3, 10.0, 60.0]),
    pools=st.booleans(),
    which=st.sampled_from([None, "inside", "outside", "all"]),
    sgm=st.sampled_from([None, 0.4]),
    activation=st.sampled_from(["relu", "relu6"]),
)
def test_bpa_in_every_combination(
    name: str,
    start: int,
    temperature: float,
    pools: bool,
    which: Literal["inside", "outside", "all"] | None,
    sgm: float | None,
    activation: str,
) -> None:
    smooth = sites(name, start, which)
    if not smooth:
        return
    rule = BPA(start=start, pools=pools, sites=which, **({"temperature": temperature} if pools else {}))
    rules: list[Rule] = [rule] if sgm is None else [SGM(gamma=sgm), rule]
    wanted = RuleByHand(smooth=smooth, temperature=temperature if pools else None, sgm=1.0 if sgm is None else sgm)
    compare(name, rules, wanted, activation)


@pytest.mark.parametrize("rebalance", ["branch", "site", None])
@pytest.mark.parametrize("name", ["pooled", "nested"])
def test_smooth_pools_in_branches_that_linbp_measures(name: str, rebalance: Literal["branch", "site"] | None) -> None:
    """LinBP's ordinary walk passes the sites and pools of the other rule, ordinarily."""
    linear = sites(name, 0, "inside")
    rules: list[Rule] = [LinBP(start=0, sites="inside", rebalance=rebalance)]
    wanted = RuleByHand(linear=linear, rebalance=rebalance)
    compare(name, rules, wanted)
    if name == "pooled":
        wanted = RuleByHand(linear=linear, rebalance=rebalance, temperature=4.0)
        compare(name, [*rules, BPA(activations=False, temperature=4.0)], wanted)
    chosen = frozenset({1})
    compare(
        name,
        [LinBP(start=0, sites=[1], rebalance=rebalance), ConBP(start=2)],
        RuleByHand(linear=chosen, rebalance=rebalance, smooth=sites(name, 2, None), smooth_by=0.5),
    )


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_conbp_with_the_ordinary_norm_at_every_site(activation: str) -> None:
    smooth = sites("bottleneck", 1, "all")
    rule = ConBP(start=1, sites="all", rebalance="site")
    compare("bottleneck", rule, RuleByHand(smooth=smooth, smooth_by=0.5, smooth_norm=True), activation)


@pytest.mark.parametrize("leak", [0.1, 0.6])
@pytest.mark.parametrize("rebalance", ["branch", "site", None])
@pytest.mark.parametrize(
    ("name", "activation"),
    [("bottleneck", "relu"), ("nested", "relu"), ("pooled", "relu6"), ("bottleneck", "silu"), ("nested", "gelu")],
)
def test_a_leak_lies_between_ordinary_and_linear(
    name: str, activation: str, rebalance: Literal["branch", "site"] | None, leak: float
) -> None:
    for which in (None, "all"):
        linear = sites(name, 1, which)
        rules: list[Rule] = [LinBP(start=1, leak=leak, rebalance=rebalance, gamma=0.8, sites=which), SGM(gamma=0.5)]  # type: ignore[arg-type]
        wanted = RuleByHand(linear=linear, rebalance=rebalance, leak=leak, gamma=0.8, sgm=0.5)
        compare(name, rules, wanted, activation)


def test_an_inactive_relu_passes_the_leak() -> None:
    """Logits W relu(x), one weight each: the derivative itself."""
    module = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(12, 2, bias=False)).double()
    nn.init.ones_(module[2].weight)  # type: ignore[arg-type]
    images = torch.tensor([0.25, 0.0, 0.5] * 4, dtype=torch.float64).view(1, 3, 2, 2)  # at 0, ReLU is inactive
    surrogate = Surrogate(Model(module, input_size=(3, 2, 2)), LinBP(start=0, leak=0.1), cache=False)
    leaf = images.clone().requires_grad_()
    (found,) = torch.autograd.grad(surrogate.run(leaf)[:, 0].sum(), leaf)
    assert found.flatten().tolist() == pytest.approx([1, 0.1, 1] * 4)


def gradients(rules: list[Rule | None], name: str) -> list[torch.Tensor]:
    surrogate, _ = captured(name)
    images, labels = batch()
    return [surrogate.with_rule(rule).gradient(images, labels) for rule in rules]


@pytest.mark.parametrize("name", ["bottleneck", "pooled"])
def test_a_steep_softplus_is_a_relu(name: str) -> None:
    ordinary, steep, gentle = gradients(
        [None, ConBP(start=0, sites="all", slope=1e7), ConBP(start=0, sites="all")], name
    )
    assert error(steep, ordinary) < 1e-6
    assert error(gentle, ordinary) > 0.1


@pytest.mark.parametrize("times", [0.1, 100.0])
def test_other_units_are_the_same_attack(times: float) -> None:
    """A network whose first weights and whose biases are larger by a factor computes the same in larger numbers."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(5, 4, 2), nn.ReLU(), nn.Flatten()]
    module = nn.Sequential(*layers, nn.Linear(16, 3)).double()
    scaled = copy.deepcopy(module)
    with torch.no_grad():
        scaled[0].weight *= times  # type: ignore[operator]
        for name, parameter in scaled.named_parameters():
            if name.endswith("bias"):
                parameter.mul_(times)
    found = []
    for network, rules in (
        (module, [BPA(start=0, slope=0.7, temperature=3.0), BPA(start=0), ConBP(start=0, slope=0.7)]),
        (
            scaled,
            [
                BPA(start=0, slope=0.7 / times, temperature=3.0 / times),
                BPA(start=0),
                ConBP(start=0, slope=0.7 / times),
            ],
        ),
    ):
        surrogate = Surrogate(Model(network, input_size=SIZE), cache=False)
        for rule in rules:
            leaf = batch()[0].requires_grad_()
            (gradient,) = torch.autograd.grad(surrogate.with_rule(rule).run(leaf)[:, 0].sum(), leaf)
            found.append(gradient)
    assert error(found[3], times * found[0]) < TOLERANCE
    assert error(found[5], times * found[2]) < TOLERANCE
    assert error(found[4], times * found[1]) > 0.01


class Windows(nn.Module):
    """A convolution, a max-pool of some geometry, and a linear layer; no activation, so no ties."""

    def __init__(self, pool: nn.Module, indices: bool = False) -> None:
        super().__init__()
        self.conv, self.pool, self.indices = nn.Conv2d(3, 2, 3, padding=1), pool, indices
        self.head = nn.LazyLinear(4)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        value = self.conv(value)
        pooled = self.pool(value)[0] if self.indices else self.pool(value)
        logits: torch.Tensor = self.head(pooled.flatten(1))
        return logits


def windows(pool: nn.Module, size: tuple[int, int], indices: bool = False) -> tuple[Surrogate, torch.Tensor]:
    torch.manual_seed(1)
    module = Windows(pool, indices)
    images = torch.rand(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        module.double()(images)
    return Surrogate(Model(module.eval(), input_size=(3, *size)), cache=False), images


def soft(value: torch.Tensor, gradient: torch.Tensor, pool: nn.MaxPool2d, temperature: float) -> torch.Tensor:
    """The gradient at a max-pool's input: each place finds out with one-hot maps in which windows it lies."""
    kernel, stride, padding, dilation = (
        int(one) for one in (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    )  # type: ignore[arg-type]
    height, width = value.shape[2:]
    number = torch.arange(1, height * width + 1, dtype=torch.float64).view(1, 1, height, width)
    far = 2 * (kernel * dilation + stride) + padding
    room = functional.pad(number, (padding, far, padding, far))
    values = functional.pad(value, (padding, far, padding, far), value=-1e300)
    passed = torch.zeros_like(value).flatten(2)
    for i in range(gradient.shape[2]):
        for j in range(gradient.shape[3]):
            rows = slice(i * stride, i * stride + dilation * (kernel - 1) + 1, dilation)
            columns = slice(j * stride, j * stride + dilation * (kernel - 1) + 1, dilation)
            shares = (temperature * values[:, :, rows, columns].flatten(2)).softmax(2)
            for at, cell in enumerate(room[0, 0, rows, columns].flatten().tolist()):
                if cell:
                    passed[:, :, int(cell) - 1] += shares[:, :, at] * gradient[:, :, i, j]
    return passed.view_as(value)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    ceil=st.booleans(),
    size=st.tuples(st.integers(7, 10), st.integers(7, 10)),
    temperature=st.sampled_from([0.5, 10.0]),
)
def test_max_pools_of_every_geometry(
    kernel: int, stride: int, padding: int, dilation: int, ceil: bool, size: tuple[int, int], temperature: float
) -> None:
    """Padding, a ceiling, holes, overlaps and gaps; and the shares of a window add up to its gradient."""
    padding = min(padding, kernel // 2)
    pool = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil)
    surrogate, images = windows(pool, size)
    (known,) = surrogate.pools
    assert (known.kernel, known.stride, known.padding, known.dilation) == tuple(
        (one, one) for one in (kernel, stride, padding, dilation)
    )
    labels = torch.tensor([0, 3])
    module = surrogate.model.module
    value = module.conv(images).detach().requires_grad_()
    pooled = pool(value)
    assert known.shape == tuple(pooled.shape[1:])
    loss = functional.cross_entropy(module.head(pooled.flatten(1)), labels, reduction="sum")
    (at_pool,) = torch.autograd.grad(loss, pooled)
    passed = soft(value.detach(), at_pool, pool, temperature)
    assert torch.allclose(passed.sum((2, 3)), at_pool.sum((2, 3)))
    expected = nn.grad.conv2d_input(images.shape, module.conv.weight.detach(), passed, padding=1)
    found = surrogate.with_rule(BPA(activations=False, temperature=temperature)).gradient(images, labels)
    assert error(found, expected) < TOLERANCE


@pytest.mark.parametrize(("kernel", "stride", "padding", "ceil"), [(2, 2, 0, False), (3, 2, 1, False), (3, 2, 0, True)])
def test_a_hot_softmax_is_the_arg_max(kernel: int, stride: int, padding: int, ceil: bool) -> None:
    """As the temperature's factor grows, the max-pool's own gradient comes out."""
    surrogate, images = windows(nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil), (8, 9))
    ordinary, hot, cold = (
        surrogate.with_rule(rule).gradient(images, [0, 1])
        for rule in (None, BPA(activations=False, temperature=1e7), BPA(activations=False, temperature=1e-7))
    )
    assert error(hot, ordinary) < 1e-6
    assert error(cold, ordinary) > 0.1


def test_a_cold_softmax_is_the_mean_of_the_window() -> None:
    torch.manual_seed(1)
    surrogate, images = windows(nn.MaxPool2d(2), (8, 8))
    cold = surrogate.with_rule(BPA(activations=False, temperature=1e-9)).gradient(images, [0, 1])
    module = surrogate.model.module
    leaf = images.clone().requires_grad_()
    value = module.conv(leaf)
    mean = functional.avg_pool2d(value, 2)
    pooled = mean + (functional.max_pool2d(value, 2) - mean).detach()
    loss = functional.cross_entropy(module.head(pooled.flatten(1)), torch.tensor([0, 1]), reduction="sum")
    assert error(cold, torch.autograd.grad(loss, leaf)[0]) < 1e-6


@pytest.mark.parametrize("rule", [ConBP(start=0, sites="all"), BPA(start=0)])
def test_float32_far_from_the_kink_is_a_relu(rule: Rule) -> None:
    """exp(1e4) is infinite; the derivative is 0 or 1 all the same."""
    torch.manual_seed(4)
    module = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)).eval()
    with torch.no_grad():
        module[0].weight.mul_(1e5)  # type: ignore[union-attr, operator]
    surrogate = Surrogate(Model(module, input_size=(3, 2, 2)), cache=False)
    images = torch.rand(4, 3, 2, 2)
    value = module[0](images)
    assert bool((value.abs() > 50).all())
    assert bool((value < -1e4).any())
    assert bool((value > 1e4).any())
    leaf = images.clone().requires_grad_()
    found, expected = (
        torch.autograd.grad(surrogate.with_rule(one).run(leaf)[:, 1].sum(), leaf)[0] for one in (rule, None)
    )
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_huge_values_do_not_overflow() -> None:
    surrogate, images = windows(nn.MaxPool2d(3, 2, 1), (8, 8))
    rule = BPA(activations=False, temperature=1e300)
    assert bool(torch.isfinite(surrogate.with_rule(rule).gradient(images, [0, 1])).all())


def test_a_max_pool_that_returns_indices_is_one_too() -> None:
    plain, images = windows(nn.MaxPool2d(2), (8, 8))
    with_indices, _ = windows(nn.MaxPool2d(2, return_indices=True), (8, 8), indices=True)
    assert len(with_indices.pools) == 1
    rule = BPA(activations=False)
    found, expected = (one.with_rule(rule).gradient(images, [0, 1]) for one in (with_indices, plain))
    assert torch.equal(found, expected)
    assert not torch.allclose(plain.gradient(images, [0, 1]), expected)


class Unpooled(nn.Module):
    """The indices of a max-pool are used: its values are put back in their places."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 2, 3, padding=1), nn.Linear(2, 4)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        value = functional.relu(self.conv(value))
        pooled, indices = functional.max_pool2d(value, 2, return_indices=True)
        logits: torch.Tensor = self.head(functional.max_unpool2d(pooled, indices, 2).square().mean((2, 3)))
        return logits


def test_indices_that_are_used_stay_what_they_are() -> None:
    torch.manual_seed(0)
    module = Unpooled().double().eval()
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    surrogate = Surrogate(Model(module, input_size=(3, 8, 8)), cache=False)
    leaf = images.clone().requires_grad_()
    loss = functional.cross_entropy(module(leaf), torch.tensor([0, 1]), reduction="sum")
    assert len(surrogate.pools) == 1
    assert error(surrogate.gradient(images, [0, 1]), torch.autograd.grad(loss, leaf)[0]) < TOLERANCE
    assert bool(torch.isfinite(surrogate.with_rule(BPA(start=0)).gradient(images, [0, 1])).all())


@pytest.mark.parametrize("rule", [ConBP(start=0, sites="all"), BPA(start=0)])
def test_an_image_does_not_depend_on_its_companions(rule: Rule) -> None:
    images, labels = batch()
    ruled = captured("pooled")[0].with_rule(rule)
    together = ruled.gradient(images, labels)
    for index in range(len(images)):
        alone = ruled.gradient(images[index : index + 1], labels[index : index + 1])
        assert error(alone[0], together[index]) < TOLERANCE


@pytest.mark.parametrize("rule", [None, ConBP(start=0, sites="all"), BPA(start=0), LinBP(start=0, leak=0.1)])
def test_float32_has_the_same_bits_in_any_company(rule: Rule | None) -> None:
    network = build("pooled, wide").float()
    surrogate = Surrogate(Model(network, input_size=(3, 11, 11)), rule, cache=False)
    images = torch.rand(11, 3, 11, 11, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(11) % 5
    whole = surrogate.gradient(images, labels)
    for rows in ([4], [10, 0], [3, 2, 1], [7, 6, 5, 4, 3, 2, 1, 0, 10]):
        assert torch.equal(surrogate.gradient(images[rows], labels[rows]), whole[rows])


def test_nothing_to_act_on_is_said() -> None:
    relu, _ = captured("bottleneck")
    assert any("no max-pool" in note for note in relu.with_rule(BPA(start=0)).notes)
    assert not relu.with_rule(BPA(start=0)).plan.pools
    with pytest.raises(RuleError, match="max-pool"):
        relu.with_rule(BPA(activations=False))
    smooth, _ = captured("bottleneck", "silu")
    for rule in (BPA(start=0), ConBP(start=1)):
        with pytest.raises(RuleError, match=r"no effect on \d+ silu.*ReLU"):
            smooth.with_rule(rule)
    none = nn.Sequential(nn.Conv2d(3, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3))
    surrogate = Surrogate(Model(none.eval(), input_size=(3, 8, 8)), cache=False)
    with pytest.raises(RuleError, match="no activation"):
        surrogate.with_rule(BPA(start=0))
    assert list(surrogate.with_rule(BPA(activations=False)).plan.pools) == [0]


class Mixed(nn.Module):
    """A ReLU and a GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 5)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        value = functional.gelu(self.second(functional.relu(self.first(value))))
        logits: torch.Tensor = self.head(value.mean((2, 3)))
        return logits


def test_activations_that_are_no_relus_stay_ordinary() -> None:
    surrogate = Surrogate(Model(Mixed().double().eval(), input_size=SIZE), cache=False)
    assert [site.clips for site in surrogate.sites] == [(0, float("inf")), None]
    for rule in (ConBP(start=0), BPA(start=0)):
        ruled = surrogate.with_rule(rule)
        assert list(ruled.plan.sites) == [0]
        assert any("1 sites that are no ReLUs stay ordinary" in note for note in ruled.notes)
        with pytest.raises(RuleError, match="1 gelu"):
            surrogate.with_rule(type(rule)(start=0, sites=[0, 1]))
        with pytest.raises(RuleError, match="1 gelu"):
            surrogate.with_rule(type(rule)(start=1))


@pytest.mark.parametrize(
    ("module", "clips"),
    [
        (nn.ReLU(), (0, float("inf"))),
        (nn.ReLU(inplace=True), (0, float("inf"))),
        (nn.ReLU6(inplace=True), (0, 6)),
        (nn.Hardtanh(), (-1, 1)),
        (nn.Hardtanh(-2, 3), (-2, 3)),
        (nn.Threshold(0.5, 0.5), (0.5, float("inf"))),
        (nn.Threshold(0.5, 0.0), None),
        (nn.LeakyReLU(), None),
        (nn.Hardswish(), None),
        (nn.PReLU(), None),
    ],
    ids=str,
)
def test_where_an_activation_clips(module: nn.Module, clips: tuple[float, float] | None) -> None:
    chain = nn.Sequential(nn.Conv2d(3, 4, 3), module, nn.Flatten(), nn.Linear(144, 3)).double().eval()
    surrogate = Surrogate(Model(chain, input_size=SIZE), cache=False)
    (site,) = surrogate.sites
    assert site.clips == clips
    if clips is None:
        return
    images = batch()[0]
    value = chain[0](images).detach()
    low, high = clips
    slope = torch.sigmoid(0.5 * (value - low)) - (torch.sigmoid(0.5 * (value - high)) if high < float("inf") else 0)
    leaf = images.clone().requires_grad_()
    (found,) = torch.autograd.grad(surrogate.with_rule(ConBP(start=0)).run(leaf)[:, 1].sum(), leaf)
    first, last = (chain[at].weight.detach() for at in (0, 3))  # type: ignore[union-attr, operator]
    expected = nn.grad.conv2d_input(images.shape, first, last[1].view(1, 4, 6, 6) * slope)
    assert error(found, expected) < TOLERANCE


@pytest.mark.parametrize("name", ["bottleneck", "pooled"])
def test_every_setting_changes_the_gradient(name: str) -> None:
    """What the comparisons must be able to see."""
    rules: list[Rule | None] = [
        None,
        LinBP(start=1),
        LinBP(start=1, leak=0.1),
        LinBP(start=1, leak=0.2),
        ConBP(start=1),
        ConBP(start=1, slope=2.0),
        ConBP(start=1, rebalance="site"),
        ConBP(start=2),
        BPA(start=1),
        BPA(start=1, sites=None) if name == "bottleneck" else BPA(start=1, pools=False),
        BPA(start=2),
    ]
    if name == "pooled":
        rules += [BPA(start=1, temperature=5.0), BPA(activations=False)]
    found = gradients(rules, name)
    equal = [(a, b) for a in range(len(found)) for b in range(a) if error(found[a], found[b]) < 1e-3]
    assert equal == []


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ConBP(start=0, slope=0), "slope=0"),
        (lambda: ConBP(start=0, slope=-1), "slope"),
        (lambda: ConBP(start=0, rebalance="branch"), "rebalance"),  # type: ignore[arg-type]
        (lambda: ConBP(start=0, sites=[]), "names no sites"),  # type: ignore[arg-type]
        (lambda: BPA(start=0, temperature=0), "temperature=0"),
        (lambda: BPA(start=0, temperature=float("inf")), "temperature"),
        (lambda: BPA(start=0, pools=False, temperature=3), "no effect"),
        (lambda: BPA(activations=False, pools=False), "no effect"),
        (lambda: BPA(activations=False, start=0), "no effect"),
        (lambda: BPA(activations=False, sites="inside"), "no effect"),
        (lambda: BPA(activations=False, slope=0.5), "no effect"),
        (lambda: BPA(start=0, slope=0), "halve every gradient"),
        (lambda: BPA(start=0, pools="yes"), "pools=yes"),  # type: ignore[arg-type]
        (lambda: BPA(start=0, sites="some"), "sites=some"),  # type: ignore[arg-type]
        (lambda: LinBP(start=0, leak=0), "leak=0"),
        (lambda: LinBP(start=0, leak=1.1), "leak"),
        (lambda: LinBP(start=0, leak=-0.1), "leak"),
    ],
)
def test_settings_out_of_range_are_refused(make: object, match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        make()  # type: ignore[operator]


def test_rules_that_want_the_same_place_are_refused() -> None:
    surrogate, _ = captured("pooled")
    with pytest.raises(RuleError, match="same 4 sites"):
        surrogate.with_rule([BPA(start=0), LinBP(start=0)])
    with pytest.raises(RuleError, match="same 4 max-pools"):
        surrogate.with_rule([BPA(activations=False), BPA(activations=False, temperature=2.0)])


class AsGiven:
    """A rule of one's own that takes the input's sign as the derivative."""

    def __init__(self, needs: Literal["derivative", "input"]) -> None:
        self.needs = needs

    def __call__(self, gradient: torch.Tensor, ordinary: Operation) -> torch.Tensor:
        assert not ordinary.input.requires_grad
        return gradient * ordinary.input.sign() + 0.5 * ordinary(gradient)


class SignRule:
    def __init__(self, needs: Literal["derivative", "input"]) -> None:
        self.needs = needs

    def plan(self, structure: Structure) -> Plan:
        return Plan(sites=dict.fromkeys(range(len(structure.sites)), AsGiven(self.needs)))


class Chain(nn.Module):
    """In-place activations on convolutions and on a sum, which may all be written over."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.act, self.head = nn.ReLU(inplace=True), nn.Linear(4, 5)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        value = self.act(self.first(value))
        value = self.act(self.second(value).add_(value))
        logits: torch.Tensor = self.head(value.mean((2, 3)))
        return logits


def test_a_rule_sees_the_input_also_where_activations_are_in_place() -> None:
    torch.manual_seed(0)
    module = Chain().double().eval()
    images, labels = batch()
    surrogate = Surrogate(Model(module, input_size=SIZE), SignRule("input"), cache=False)
    with torch.no_grad():
        first = module.first(images)
        second = module.second(first.relu()) + first.relu()
        logits = module.head(second.relu().mean((2, 3)))
        at_logits = logits.softmax(1) - functional.one_hot(labels, 5)

        def back(gradient: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            return gradient * (value.sign() + 0.5 * (value > 0))

        at_sum = back((at_logits @ module.head.weight)[:, :, None, None].expand_as(second) / 64, second)
        through = nn.grad.conv2d_input(first.shape, module.second.weight, at_sum, padding=1)
        expected = nn.grad.conv2d_input(images.shape, module.first.weight, back(at_sum + through, first), padding=1)
    assert error(surrogate.gradient(images, labels), expected) < TOLERANCE
    assert error(surrogate.gradient(images, labels), expected) < TOLERANCE  # nothing was written over


def test_a_rule_that_did_not_ask_for_the_input_does_not_get_it() -> None:
    surrogate = Surrogate(Model(Chain().double().eval(), input_size=SIZE), SignRule("derivative"), cache=False)
    with pytest.raises(AttributeError, match="needs"):
        surrogate.gradient(*batch())
