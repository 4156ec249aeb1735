"""Where formulas divide by zero or have no derivative: the clean image, closed ReLUs, ties, dead networks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny_networks import SIZE, images_and_labels
from torch import nn

import linbp
from linbp.attack import Budget, Context, Goal, Observation, Recipe, Trace


def slopes(
    text: str,
    clean: torch.Tensor,
    here: torch.Tensor,
    *,
    end: torch.Tensor | None = None,
    logits: torch.Tensor | None = None,
    target: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The objective's values, and its gradients at a feature map and at the logits; no network is needed for that.

    Args:
        text: the objective.
        clean: the feature map (N, ...) at the clean images.
        here: at the images.
        end: where a guide ended.
        logits: (N, classes).
        target: of all images.
    """
    count = len(here)
    images = torch.full((count, 1, 4, 4), 0.5, dtype=here.dtype)
    maps = {0.5: clean, 0.6: end if end is not None else clean}
    goal = Goal(
        labels=torch.zeros(count, dtype=torch.int64), targets=None if target is None else torch.full((count,), target)
    )
    context = Context(
        budget=Budget(images, [0.1] * count, norm="linf", rounding="inward"),
        goal=goal,
        step_size=torch.ones(count, 1, 1, 1),
        steps=3,
        trace=Trace(images=images + 0.1),
    )
    objective = Recipe.parse(text).stages[-1].objective
    measure = objective.bind(context, lambda at: {"map": maps[round(float(at.flatten()[0]), 6)]})
    value = here.clone().requires_grad_()
    scores = (torch.zeros(count, 3, dtype=here.dtype) if logits is None else logits.clone()).requires_grad_()
    start = images.clone().requires_grad_()
    found = measure(Observation(logits=scores, features={"map": value}, images=start))
    gradients = torch.autograd.grad(found.sum(), (value, scores), allow_unused=True)
    at_map, at_logits = (
        torch.zeros_like(of) if gradient is None else gradient
        for gradient, of in zip(gradients, (value, scores), strict=True)
    )
    return found.detach(), at_map, at_logits


def column(*numbers: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """One image whose feature map has one channel for each number."""
    return torch.tensor(numbers, dtype=dtype).view(1, -1, 1, 1)


def test_tap_takes_no_derivative_at_zero_and_the_ordinary_one_elsewhere() -> None:
    clean, here = column(0, 4, 0, -1, 9, 1e-30), column(0, 0, 0.25, -4, 9, 1e-30)
    value, at_map, _ = slopes("tap(at=map, distance=1, smoothness=0)", clean, here)
    # d/dz (s(z) - s0)^2 = (s(z) - s0) / sqrt|z|
    assert torch.allclose(at_map.flatten(), column(0, 0, 1, -0.5, 0, 0).flatten())
    assert torch.allclose(value - torch.log(torch.tensor(3.0)), torch.tensor(4 + 0.25 + 1.0).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_tap_is_finite_at_the_smallest_numbers(dtype: torch.dtype) -> None:
    tiny = torch.finfo(dtype).tiny
    here = column(tiny, -tiny, tiny / 8, 0, dtype=dtype)
    for clean in (here, torch.ones_like(here), -here):
        value, at_map, _ = slopes("tap(at=map)", clean, here)
        assert torch.isfinite(value).all()
        assert torch.isfinite(at_map).all()


def test_nrdm_has_no_gradient_where_nothing_changed_and_a_unit_one_elsewhere() -> None:
    clean = torch.cat([column(1, 2, 3), column(0, 0, 0)])
    here = torch.cat([column(1, 2, 3), column(0, 3, 4)])
    value, at_map, _ = slopes("nrdm(at=map) + random-start", clean, here)
    assert torch.equal(value, torch.tensor([0.0, 5.0]).double())
    assert torch.allclose(at_map.flatten(1), torch.tensor([[0, 0, 0], [0, 0.6, 0.8]]).double())


def test_fda_of_maps_that_are_all_zero_or_all_the_same() -> None:
    clean = torch.cat([column(0, 0, 0), column(2, 2, 2), column(0, 0, 6), column(0, 0, 6)])
    here = torch.cat([column(0, 0, 0), column(2, 2, 2), column(0, 0, 6), column(3, 4, 10)])
    value, at_map, _ = slopes("fda(at=map)", clean, here)
    assert torch.isfinite(value).all()
    expected = torch.tensor([[0, 0, 0], [-1 / 6] * 3, [0, 0, -1 / 6], [3 / 25, 4 / 25, -1 / 10]]).double()
    assert torch.allclose(at_map.flatten(1), expected)
    assert torch.allclose(value[3], torch.tensor(0.5).double().log())
    smallest = torch.finfo(torch.float64).tiny
    assert torch.allclose(value[2], torch.tensor(math.log(smallest / 6)).double())


def test_where_channels_are() -> None:
    """The mean is taken over channels: first of four axes, unless the first two alone are alike; last of fewer axes."""
    draw = torch.Generator().manual_seed(0)
    for shape, text, axis in (
        ((2, 3, 4, 5), "fda(at=map)", 1),
        ((2, 3, 4, 5), "fda(at=map, channels=last)", 3),
        ((2, 3, 4, 4), "fda(at=map)", 1),
        ((2, 4, 4, 4), "fda(at=map)", 1),
        ((2, 4, 4, 3), "fda(at=map)", 3),
        ((2, 4, 4, 3), "fda(at=map, channels=first)", 1),
        ((2, 7, 5), "fda(at=map)", 2),
        ((2, 7, 5), "fda(at=map, channels=first)", 1),
        ((2, 7), "fda(at=map)", 1),
    ):
        clean = torch.randn(shape, dtype=torch.float64, generator=draw)
        here = torch.randn(shape, dtype=torch.float64, generator=draw)
        weak = clean < clean.mean(axis, keepdim=True)
        _, at_map, _ = slopes(text, clean, here)
        assert torch.equal(at_map * here > 0, weak)


def test_ila_and_ilaf_at_the_clean_image_and_behind_a_guide_that_did_nothing() -> None:
    clean = torch.cat([column(1, 1), column(1, 1), column(1, 1)])
    end = torch.cat([column(4, 5), column(1, 1), column(1, 1)])
    here = torch.cat([column(1, 1), column(1, 1), column(2, 1)])
    value, at_map, _ = slopes("ila(at=map)", clean, here, end=end)
    assert torch.equal(value, torch.zeros(3).double())
    assert torch.equal(at_map.flatten(1), torch.tensor([[3.0, 4.0], [0, 0], [0, 0]]).double())
    value, at_map, _ = slopes("ilaf(at=map)", clean, here, end=end)
    assert torch.allclose(value, torch.tensor([0, 0, 0.8]).double())
    assert torch.allclose(at_map.flatten(1), torch.tensor([[0.6, 0.8], [0, 0], [0.8, 0]]).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_margins_that_are_none(dtype: torch.dtype) -> None:
    """A tie, three zeros, and two logits that differ by less than their rounding: as if the margin were 1."""
    next_to_ten = torch.nextafter(torch.tensor(10.0, dtype=dtype), torch.tensor(11.0, dtype=dtype))
    logits = torch.tensor([[5, 5, 1], [0, 0, 0], [10, next_to_ten, 0], [1e30, 1e30, 0]], dtype=dtype)
    maps = torch.zeros(4, 1, 1, 1, dtype=dtype)
    value, _, found = slopes("margin", maps, maps, logits=logits)
    _, _, expected = slopes("ce", maps, maps, logits=logits)
    assert torch.isfinite(value).all()
    assert torch.equal(found, expected)
    apart = torch.tensor([[5, 3, 1.0]], dtype=dtype)
    _, _, found = slopes("margin", maps[:1], maps[:1], logits=apart)
    _, _, halved = slopes("ce", maps[:1], maps[:1], logits=apart / 2)
    assert torch.allclose(found, halved / 2)


def test_a_network_of_one_class_has_no_margin() -> None:
    maps = torch.zeros(2, 1, 1, 1, dtype=torch.float64)
    value, _, found = slopes("margin", maps, maps, logits=torch.tensor([[3.0], [-2.0]]).double())
    assert torch.equal(value, torch.zeros(2).double())
    assert torch.equal(found, torch.zeros(2, 1).double())


class Dead(nn.Module):
    """Everything behind its first layer is 0, whatever the image."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * SIZE * SIZE, 5)
        self.act = nn.ReLU()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.act(self.layer(images) - 1e4).flatten(1))


@pytest.fixture(scope="module")
def dead() -> linbp.Surrogate:
    return linbp.Surrogate(linbp.Model(Dead().double(), input_size=(3, SIZE, SIZE), name="dead"))


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "tap(at=act)",
        "fda(at=act)",
        "nrdm(at=act) + random-start(radius=0.2)",
        "logit",
        "margin",
        "ila(at=act)",
        "ilaf(at=act)",
        "ila-plus-plus(at=act)",
        "ila-plus-plus(at=act, fit=ridge)",
        "ila-plus-plus(at=act, fit=svr)",
        "fia(at=act, samples=2)",
        "naa(at=act, samples=2)",
        "bfa(at=act, samples=2)",
    ],
)
def test_a_dead_network_gives_no_nan(dead: linbp.Surrogate, text: str, linear: bool) -> None:
    """With linear backpropagation the gradient passes the closed ReLUs too, and with it whatever is infinite there."""
    images, labels = images_and_labels(2)
    surrogate: Any = dead.with_rule(linbp.LinBP(start=0)) if linear else dead
    adv = linbp.craft(surrogate, images, labels % 5, text, eps="8/255", steps=3)
    assert torch.isfinite(adv).all()
    if not linear and "start" not in text:
        assert torch.equal((adv * 255).round(), images.double())
