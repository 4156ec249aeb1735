"""Rules that meet: at the end of a branch, inside attention, on one edge; and plans that a network cannot follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import linbp
from linbp.errors import RuleError
from linbp.graph import AttentionGradients, BranchGradients, Plan, Scale, Structure

LABELS = torch.tensor([1, 0, 2])


class Block(nn.Module):
    """Attention, spelt out or fused, in a residual branch; a ReLU perceptron in the next."""

    def __init__(self, fused: bool, causal: bool = False) -> None:
        super().__init__()
        self.fused, self.causal = fused, causal
        self.stem, self.qkv, self.out = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 18), nn.Linear(6, 6)
        self.up, self.down, self.head = nn.Linear(6, 8), nn.Linear(8, 6), nn.Linear(6, 4)

    def attend(self, value: torch.Tensor) -> torch.Tensor:
        query, key, inner = self.qkv(value).chunk(3, -1)
        if self.fused:
            return functional.scaled_dot_product_attention(query, key, inner, is_causal=self.causal)
        return (query @ key.transpose(-2, -1) * 6**-0.5).softmax(-1) @ inner

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = self.stem(images).flatten(2).transpose(1, 2)
        value = value + self.out(self.attend(value))
        value = value + self.down(torch.relu(self.up(value)))
        return self.head(value.mean(1))


class HeadsFirst(Block):
    """Attention whose first axis holds two heads and not the images."""

    def attend(self, value: torch.Tensor) -> torch.Tensor:
        query, key, inner = self.qkv(value).unflatten(-1, (3, 2, 3)).permute(2, 3, 0, 1, 4)
        return ((query @ key.transpose(-2, -1)).softmax(-1) @ inner).permute(1, 2, 0, 3).flatten(2)


class Masked(Block):
    """Fused attention in which the first query may see no key."""

    def attend(self, value: torch.Tensor) -> torch.Tensor:
        query, key, inner = self.qkv(value).chunk(3, -1)
        mask = torch.ones(value.shape[1], value.shape[1], dtype=torch.bool)
        mask[0] = False
        return functional.scaled_dot_product_attention(query, key, inner, attn_mask=mask)


@dataclass(frozen=True)
class Given:
    plan_of: Callable[[Structure], Plan]

    def plan(self, structure: Structure) -> Plan:
        return self.plan_of(structure)


def captured(build: Callable[[], nn.Module]) -> linbp.Surrogate:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        module = build().double()
    return linbp.Surrogate(linbp.Model(module, input_size=(3, 16, 16)))


def gradient(surrogate: linbp.Surrogate, *plans: Callable[[Structure], Plan]) -> torch.Tensor:
    images = torch.rand(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    return surrogate.with_rule([Given(plan) for plan in plans]).gradient(images, LABELS)


def as_it_is(gradient: torch.Tensor, branch: BranchGradients) -> torch.Tensor:
    return branch.rule_gradient(gradient)


def ordinary(gradient: torch.Tensor, attention: AttentionGradients) -> Any:
    return attention.from_logits(gradient, attention.logits_gradient(gradient))


@pytest.mark.parametrize("fused", [True, False])
def test_a_tensor_where_a_branch_or_an_attention_ends_is_changed_once(fused: bool) -> None:
    surrogate = captured(lambda: Block(fused))
    ends = [junction.branch[-1] for junction in surrogate.junctions]
    for name in (*ends, surrogate.attentions[0].node):
        at = lambda structure, name=name: Plan(tensors={name: lambda g: g - 3 * g.clamp(min=0)})  # noqa: E731
        expected = gradient(surrogate, at)
        assert not torch.allclose(expected, gradient(surrogate))
        whole = lambda structure: Plan(branches=dict.fromkeys(range(2), as_it_is), attentions={0: ordinary})  # noqa: E731
        assert torch.allclose(gradient(surrogate, at, whole), expected, rtol=1e-10, atol=1e-15)


def test_a_gradient_that_a_rule_wrote_over_is_another_one() -> None:
    surrogate = captured(lambda: Block(True))
    seen: list[torch.Tensor] = []

    def twice(gradient: torch.Tensor, branch: BranchGradients) -> torch.Tensor:
        own = gradient.clone()
        seen.append(branch.rule_gradient(own).clone())
        seen.append(branch.rule_gradient(own.mul_(2)).clone())
        return branch.rule_gradient(gradient)

    gradient(surrogate, lambda structure: Plan(branches={1: twice}))
    assert torch.allclose(seen[1], 2 * seen[0], rtol=1e-12)


def test_rules_on_one_edge_act_in_their_order_however_they_are_added() -> None:
    surrogate = captured(lambda: Block(True))
    structure = surrogate.structure
    linear = linbp.LinBP(start=0).plan(structure)
    cut = Plan(edges={1: lambda g: g.clamp(-1e-3, 1e-3)})
    tenth = Plan(edges={1: Scale(0.1)})
    plans = [(linear + tenth) + cut, (tenth + cut) + linear, tenth + (cut + linear)]
    found = [gradient(surrogate, lambda _, plan=plan: plan) for plan in plans]
    assert all(torch.allclose(one, found[0], rtol=1e-12) for one in found)
    assert not torch.allclose(found[0], gradient(surrogate, lambda _: (linear + cut) + tenth))


def test_the_ordinary_gradients_of_an_attention_see_no_other_rule() -> None:
    surrogate = captured(lambda: Block(False))
    attention = surrogate.attentions[0]
    logits = Plan(tensors={str(attention.logits): lambda g: 5 * g})
    whole = Plan(attentions={0: lambda g, attention: attention.ordinary(g)})
    assert torch.allclose(gradient(surrogate, lambda _: logits + whole), gradient(surrogate), rtol=1e-10, atol=1e-15)
    inside = Plan(attentions={0: ordinary})
    expected = gradient(surrogate, lambda _: logits)
    assert torch.allclose(gradient(surrogate, lambda _: logits + inside), expected, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("build", [lambda: Masked(True), lambda: Block(True, causal=True)])
def test_masked_attention_has_the_gradient_of_the_fused_operation(build: Callable[[], nn.Module]) -> None:
    surrogate = captured(build)
    found = gradient(surrogate, lambda _: Plan(attentions={0: ordinary}))
    assert torch.isfinite(found).all()
    assert torch.allclose(found, gradient(surrogate), rtol=1e-10, atol=1e-15)


def test_attention_whose_first_axis_is_not_the_images_is_none() -> None:
    """Its rows could not be taken image by image."""
    surrogate = captured(lambda: HeadsFirst(False))
    assert surrogate.attentions == ()
    assert len(surrogate.structure.softmaxes) == 1


@pytest.mark.parametrize(
    "plan",
    [
        Plan(edges={99: Scale(0.5)}),
        Plan(branches={99: as_it_is}),
        Plan(attentions={1: ordinary}),
        Plan(tensors={"nowhere": lambda g: g}),
    ],
)
def test_a_place_that_the_network_does_not_have_is_refused(plan: Plan) -> None:
    surrogate = captured(lambda: Block(True))
    with pytest.raises(RuleError) as caught:
        surrogate.with_rule(Given(lambda _: plan))
    assert any(name in caught.value.message for name in ("99", "1", "nowhere"))
    assert caught.value.hint
