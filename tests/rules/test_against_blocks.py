"""LinBP and SGM against `blocks_by_hand`, which knows blocks and formulas but no graph."""

from __future__ import annotations

import functools

import pytest
import torch
from blocks_by_hand import Activation, Layer, RuleByHand, gradient_by_hand, linear_sites
from hypothesis import given, settings
from hypothesis import strategies as st
from residual_networks import NETWORKS, build

from linbp import SGM, LinBP, Model, Surrogate
from linbp.errors import RuleError

SIZE = (3, 8, 8)
TOLERANCE = 1e-10


@functools.cache
def captured(name: str, activation: str = "relu", fold: bool = True) -> tuple[Surrogate, Layer]:
    """One of the networks, captured, and written down by hand."""
    network = build(name, activation)
    model = Model(network, input_size=SIZE)
    return Surrogate(model, fold_batch_norm=fold, cache=False), network.by_hand()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Three images and their labels."""
    draw = torch.Generator().manual_seed(5)
    return torch.rand(3, *SIZE, generator=draw, dtype=torch.float64), torch.tensor([0, 3, 1])


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative L2 difference."""
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_sites_are_those_written_down(name: str) -> None:
    surrogate, network = captured(name)
    assert [site.kind for site in surrogate.sites] == [site.kind for site in network.activations()]


@pytest.mark.parametrize("fold", [True, False], ids=["folded", "unfolded"])
@pytest.mark.parametrize("activation", ["relu", "silu", "leaky", "gelu"])
@pytest.mark.parametrize("name", NETWORKS)
def test_without_a_rule_both_are_the_ordinary_gradient(name: str, activation: str, fold: bool) -> None:
    if fold and activation != "relu":
        activation = "relu"  # folding does not see activations
    surrogate, network = captured(name, activation, fold)
    images, labels = batch()
    logits, expected = gradient_by_hand(network, images, labels, RuleByHand())
    assert error(surrogate.logits(images), logits) < TOLERANCE
    assert error(surrogate.gradient(images, labels), expected) < TOLERANCE
    leaf = images.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(surrogate.model(leaf), labels, reduction="sum")
    assert error(expected, torch.autograd.grad(loss, leaf)[0]) < TOLERANCE


@pytest.mark.parametrize("rebalance", ["branch", "site", None])
@pytest.mark.parametrize("name", NETWORKS)
def test_linbp_from_every_site(name: str, rebalance: str | None) -> None:
    """Every start, so also every one in the middle of a branch."""
    surrogate, network = captured(name)
    images, labels = batch()
    for start in range(len(surrogate.sites)):
        linear = linear_sites(network, start)
        rule = LinBP(start=start, rebalance=rebalance)
        if not linear:
            with pytest.raises(RuleError, match="no site"):
                surrogate.with_rule(rule)
            continue
        _, expected = gradient_by_hand(network, images, labels, RuleByHand(linear=linear, rebalance=rebalance))
        found = surrogate.with_rule(rule).gradient(images, labels)
        assert error(found, expected) < TOLERANCE, start


@pytest.mark.parametrize("rebalance", ["branch", "site", None])
@pytest.mark.parametrize("activation", ["silu", "leaky", "gelu"])
@pytest.mark.parametrize("name", ["bottleneck", "pre-activation", "nested"])
def test_linbp_of_other_activations(name: str, activation: str, rebalance: str | None) -> None:
    surrogate, network = captured(name, activation, fold=False)
    images, labels = batch()
    linear = linear_sites(network, 2)
    _, expected = gradient_by_hand(
        network, images, labels, RuleByHand(linear=linear, rebalance=rebalance, gamma=0.7, sgm=0.5)
    )
    rules = [LinBP(start=2, rebalance=rebalance, gamma=0.7), SGM(gamma=0.5)]
    assert error(surrogate.with_rule(rules).gradient(images, labels), expected) < TOLERANCE


@pytest.mark.parametrize("gamma", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("name", NETWORKS)
def test_sgm_alone(name: str, gamma: float) -> None:
    surrogate, network = captured(name)
    images, labels = batch()
    linear_sites(network, 0)
    _, expected = gradient_by_hand(network, images, labels, RuleByHand(sgm=gamma))
    assert error(surrogate.with_rule(SGM(gamma=gamma)).gradient(images, labels), expected) < TOLERANCE


@pytest.mark.parametrize("skips", ["identity", "projection"])
@pytest.mark.parametrize("name", NETWORKS)
def test_sgm_beside_one_kind_of_skip(name: str, skips: str) -> None:
    surrogate, network = captured(name)
    images, labels = batch()
    linear_sites(network, 0)
    if not any(junction.skip_is_identity is (skips == "identity") for junction in surrogate.junctions):
        with pytest.raises(RuleError, match=str(skips)):
            surrogate.with_rule(SGM(skips=skips))
        return
    _, expected = gradient_by_hand(network, images, labels, RuleByHand(sgm=0.2, beside=skips))
    assert error(surrogate.with_rule(SGM(skips=skips)).gradient(images, labels), expected) < TOLERANCE


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(sorted(NETWORKS)),
    start=st.integers(0, 12),
    rebalance=st.sampled_from(["branch", "site", None]),
    gamma=st.sampled_from([1.0, 0.5, 0.0, 1.5]),
    sgm=st.sampled_from([None, 0.2, 0.0]),
    which=st.sampled_from([None, "inside", "outside", "all"]),
    linear_first=st.booleans(),
)
def test_every_combination(
    name: str,
    start: int,
    rebalance: str | None,
    gamma: float,
    sgm: float | None,
    which: str | None,
    linear_first: bool,
) -> None:
    surrogate, network = captured(name)
    start = min(start, len(surrogate.sites) - 1)
    images, labels = batch()
    linear = linear_sites(network, start, which)
    rule = LinBP(start=start, rebalance=rebalance, gamma=gamma, sites=which)
    rules = [rule] if sgm is None else [rule, SGM(gamma=sgm)] if linear_first else [SGM(gamma=sgm), rule]
    in_branches = {index for junction in surrogate.junctions for index in junction.sites}
    if not linear or (gamma != 1 and not linear & in_branches):
        with pytest.raises(RuleError):
            surrogate.with_rule(rules)
        return
    wanted = RuleByHand(linear=linear, rebalance=rebalance, gamma=gamma, sgm=1.0 if sgm is None else sgm)
    logits, expected = gradient_by_hand(network, images, labels, wanted)
    ruled = surrogate.with_rule(rules)
    assert error(ruled.gradient(images, labels), expected) < TOLERANCE
    assert error(ruled.run(images), logits) < TOLERANCE


@pytest.mark.parametrize("name", ["bottleneck", "nested"])
@pytest.mark.parametrize("rebalance", ["branch", "site", None])
def test_chosen_sites_by_number(name: str, rebalance: str | None) -> None:
    """Alone and with SGM, which also scales branches that hold no chosen site."""
    surrogate, network = captured(name)
    images, labels = batch()
    linear_sites(network, 0)
    for chosen in ((1,), (2,), (2, 5), (0, 3, 4)):
        for sgm in (1.0, 0.5):
            wanted = RuleByHand(linear=frozenset(chosen), rebalance=rebalance, sgm=sgm)
            _, expected = gradient_by_hand(network, images, labels, wanted)
            rules = [LinBP(start=0, rebalance=rebalance, sites=chosen), *([SGM(gamma=sgm)] if sgm != 1 else [])]
            found = surrogate.with_rule(rules).gradient(images, labels)
            assert error(found, expected) < TOLERANCE, (chosen, sgm)


def test_an_image_does_not_depend_on_its_companions() -> None:
    """The ratio is one number an image: alone, each image's gradient is the same."""
    images, labels = batch()
    for rebalance in ("branch", "site"):
        ruled = captured("bottleneck")[0].with_rule(LinBP(start=0, rebalance=rebalance))
        together = ruled.gradient(images, labels)
        for index in range(len(images)):
            alone = ruled.gradient(images[index : index + 1], labels[index : index + 1])
            assert error(alone[0], together[index]) < TOLERANCE


def test_the_gradient_depends_on_each_setting() -> None:
    """What a comparison must be able to see: every setting changes the gradient by far more than the tolerance."""
    surrogate, _ = captured("bottleneck")
    images, labels = batch()
    rules = [
        None,
        LinBP(start=1),
        LinBP(start=2),
        LinBP(start=1, gamma=0.5),
        LinBP(start=1, rebalance="site"),
        LinBP(start=1, rebalance=None),
        LinBP(start=1, sites="all"),
        SGM(gamma=0.5),
        [LinBP(start=1), SGM(gamma=0.3)],
    ]
    gradients = [surrogate.with_rule(rule).gradient(images, labels) for rule in rules]  # type: ignore[arg-type]
    equal = [
        (first, second)
        for first in range(len(rules))
        for second in range(first)
        if error(gradients[first], gradients[second]) < 1e-3
    ]
    assert equal == []


def test_an_activation_of_the_hand_written_blocks_knows_its_derivative() -> None:
    """The reference itself, by differences."""
    values = torch.linspace(-3, 3, 41, dtype=torch.float64) + 0.01
    for name in ("relu", "silu", "leaky", "gelu"):
        site = Activation(name)
        rise = (site.forward(values + 1e-6) - site.forward(values - 1e-6)) / 2e-6
        site.forward(values)
        assert torch.allclose(site.back(torch.ones_like(values), None), rise, atol=1e-8)
