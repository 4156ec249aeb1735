"""Groups of a chosen size: an image has the bits that it has alone, in any company, and other sizes are other bits."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
import torchvision
from torch.nn import functional

import linbp
from linbp import LinBP, Model, Surrogate
from linbp.attack import prepare
from linbp.attack.ensemble import Ensemble, as_ensemble
from linbp.errors import RecipeError
from linbp.graph.kernels.groups import GROUP_SIZES, groups_of

COUNT, SIZE = 35, (3, 48, 48)


@functools.cache
def captured() -> Surrogate:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = torchvision.models.squeezenet1_1().eval()
    return Surrogate(Model(module, input_size=SIZE, name="net"), cache=False)


@functools.cache
def images() -> torch.Tensor:
    levels = torch.randint(0, 256, (COUNT, *SIZE), generator=torch.Generator().manual_seed(1))
    return levels / 255


LABELS = torch.arange(COUNT)


def by_hand(ruled: Surrogate, rows: list[int]) -> torch.Tensor:
    """The gradient of the network as it is, of just these images at once."""
    leaf = images()[rows].contiguous(memory_format=torch.channels_last).requires_grad_()
    loss = functional.cross_entropy(ruled._network(leaf), LABELS[rows], reduction="sum")
    return torch.autograd.grad(loss, leaf)[0]


@pytest.mark.parametrize("size", GROUP_SIZES)
@pytest.mark.parametrize("rule", [None, LinBP(start=0.5)], ids=str)
def test_an_image_has_the_same_bits_in_any_position_and_company(rule: Any, size: int) -> None:
    ruled = captured().with_rule(rule).grouped(size)
    assert ruled.memory_format == "channels_last"
    whole = ruled.gradient(images(), LABELS)
    for rows in ([7], [34, 0], [3, 2, 1], list(range(COUNT))[::-1]):
        assert torch.equal(ruled.gradient(images()[rows], LABELS[rows]), whole[rows]), rows
    others = [row for row in range(COUNT) if row != 5][: size - 1]
    at = size // 2
    alone = by_hand(ruled, [*others[:at], 5, *others[at:]])
    assert torch.equal(alone[at], whole[5])
    assert torch.equal(ruled.logits(images()[[5]]), ruled.logits(images())[[5]])


@pytest.mark.parametrize("size", GROUP_SIZES)
def test_networks_get_groups_of_that_size_and_no_other(size: int) -> None:
    found = [(count, len(full)) for count, full in groups_of(images(), size, 1, 99)]
    assert {filled for _, filled in found} == {size}
    assert sum(count for count, _ in found) == COUNT


def test_a_group_is_never_smaller_or_larger_than_the_network_takes() -> None:
    assert [len(full) for _, full in groups_of(images()[:3], 1, 2, 99)] == [2, 2, 2]
    assert [len(full) for _, full in groups_of(images()[:9], 16, 1, 4)] == [4, 4, 4]


def test_nothing_is_captured_again_and_the_original_keeps_its_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    first = captured()
    monkeypatch.setattr("linbp.graph.surrogate.capture", None)
    other = first.grouped(1)
    assert (first.group_size, other.group_size, other.with_rule(LinBP(start=1)).group_size) == (4, 1, 1)
    assert (first.identity()["group_size"], other.identity()["group_size"]) == (4, 1)


def test_the_first_versions_said_nothing_of_their_eight() -> None:
    assert "group_size" not in captured().grouped(8).identity()


@pytest.mark.parametrize("size", [0, 2, 3, 5, 64, True, "1", 1.0, None])
def test_other_sizes_are_refused(size: Any) -> None:
    with pytest.raises(RecipeError, match="group_size"):
        captured().grouped(size)
    with pytest.raises(RecipeError, match="group_size"):
        Surrogate(captured().model, group_size=size, cache=False)


def test_where_nothing_is_grouped_it_has_no_effect_and_is_refused() -> None:
    double = Model(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)).double(), input_size=(3, 2, 2))
    with pytest.raises(RecipeError, match="no effect"):
        as_ensemble(double, group_size=1)


def test_an_attack_computes_in_groups_as_its_surrogate_does() -> None:
    x, y = images()[:3], LABELS[:3]
    settings: dict[str, Any] = {"eps": "8/255", "steps": 3}
    single = linbp.craft(captured(), x, y, "ifgsm", group_size=1, **settings)
    assert torch.equal(single, linbp.craft(captured().grouped(1), x, y, "ifgsm", **settings))
    assert torch.equal(single[1:2], linbp.craft(captured(), x[1:2], y[1:2], "ifgsm", group_size=1, **settings))
    prepared = prepare(captured(), linbp.Recipe.parse("ifgsm"))
    with pytest.raises(RecipeError, match="group_size=4"):
        linbp.craft(prepared, x, y, "ifgsm", group_size=1, **settings)


def test_results_say_it_for_each_network_of_an_ensemble() -> None:
    both = Ensemble([captured(), captured().with_rule(LinBP(start=1)).grouped(16)])
    assert [member.get("group_size") for member in both.identity()["members"]] == [4, 16]
    assert [member["group_size"] for member in both.grouped(1).identity()["members"]] == [1, 1]
