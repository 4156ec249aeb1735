"""Lengths of gradients: tiny ones, huge ones, and the same in any batch and with any number of threads."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from tiny_networks import images_and_labels, tiny
from torch import nn

import linbp
from linbp.attack import Recipe
from linbp.attack.budget import Budget
from linbp.attack.context import Context, Goal
from linbp.attack.image_norms import absolute_mean, absolute_sum, divided, euclidean
from linbp.attack.parts.update.base import UpdateState
from linbp.errors import ModelError, RecipeError


def test_lengths_are_those_of_numpy() -> None:
    values = torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    wide = values.double().numpy().reshape(3, -1)
    assert np.allclose(absolute_sum(values).flatten(), np.abs(wide).sum(1), rtol=1e-12)
    assert np.allclose(absolute_mean(values).flatten(), np.abs(wide).mean(1), rtol=1e-12)
    assert np.allclose(euclidean(values).flatten(), np.linalg.norm(wide, axis=1), rtol=1e-12)


@pytest.mark.parametrize(("dtype", "scale"), [(torch.float32, 1e-30), (torch.float32, 1e30), (torch.float16, 30000.0)])
def test_what_float32_or_half_would_lose(dtype: torch.dtype, scale: float) -> None:
    values = (torch.ones(2, 3, 64, 64) * scale).to(dtype)
    unit = divided(values, euclidean(values)).double()
    assert torch.allclose(unit.flatten(1).norm(dim=1), torch.ones(2, dtype=torch.float64), rtol=1e-2)
    assert divided(values, absolute_mean(values)).double().mean() == pytest.approx(1, rel=1e-2)


def test_zero_stays_zero() -> None:
    nothing = torch.zeros(2, 3, 4, 4)
    for length in (euclidean, absolute_mean, absolute_sum):
        assert torch.equal(divided(nothing, length(nothing)), nothing)


class Faint(nn.Module):
    """A network whose gradients are of the order of 1e-30."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.Linear(3 * 8 * 8, 4)
            self.layer.weight.data.mul_(1e-30)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(images.flatten(1)) + 1)


@pytest.mark.parametrize("recipe", ["ifgsm", "mi", "ni"])
def test_faint_gradients_move_an_image_in_l2_too(recipe: str) -> None:
    model = linbp.Model(Faint(), input_size=(3, 8, 8))
    images = torch.full((2, 3, 8, 8), 128, dtype=torch.uint8)
    adv = linbp.craft(model, images, [0, 1], recipe, eps=0.5, steps=4, norm="l2")
    assert ((adv * 255 - 128).flatten(1).norm(dim=1) / 255).min() > 0.4


@pytest.mark.parametrize("recipe", ["mi", "ni(scale=l1)", "ni"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_float32_adversarial_images_do_not_depend_on_the_batch_with_two_threads(recipe: str, norm: str) -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            with torch.random.fork_rng():
                torch.manual_seed(3)
                self.layers = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
                self.head = nn.Linear(16, 5)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.head(self.layers(images).flatten(1))

    draw = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (5, 3, 160, 160), generator=draw, dtype=torch.uint8)
    surrogate, before = linbp.Surrogate(linbp.Model(Wide(), input_size=(3, 160, 160))), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        options = {"eps": 3.0 if norm == "l2" else 8 / 255, "steps": 6, "norm": norm}
        one, all_of_them = (
            linbp.craft(surrogate, images, [0, 1, 2, 3, 4], recipe, batch_size=size, **options)  # type: ignore[arg-type]
            for size in (1, 5)
        )
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one, all_of_them)


def test_what_would_be_silently_wrong_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = images_and_labels(3)
    with pytest.raises(RecipeError, match=r"seed is 0\.5"):
        linbp.craft(tiny(), images, labels, "pgd", eps="8/255", steps=2, seed=0.5)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="256 levels"):
        linbp.craft(tiny(torch.bfloat16), images, labels, "ifgsm", eps="8/255", steps=2)
    prepared = linbp.attack.prepare(tiny(), linbp.Recipe.parse("mi"))
    module = sys.modules["linbp.attack.prepare"]  # the package has a function of that name
    monkeypatch.setattr(module, "usable_device", lambda device: device)  # as if there were another one
    with pytest.raises(RecipeError, match="prepared on cpu"):
        linbp.attack.prepare(prepared, linbp.Recipe.parse("mi"), device="meta")


def test_numpy_views_are_taken_as_they_look() -> None:
    images, labels = images_and_labels(2)
    mirrored = images.numpy()[..., ::-1]
    found = linbp.craft(tiny(), mirrored, labels.numpy(), "ifgsm", eps="8/255", steps=2)
    expected = linbp.craft(tiny(), images.flip(-1), labels, "ifgsm", eps="8/255", steps=2)
    assert np.array_equal(found, expected.numpy())


def test_a_rule_of_the_surrogate_that_reaches_nothing_is_refused() -> None:
    images, labels = images_and_labels(2)
    surrogate = linbp.Surrogate(tiny(), rule=linbp.LinBP(start="blocks.1"))
    with pytest.raises(RecipeError, match=r"linbp.*no effect"):
        linbp.craft(surrogate, images, labels, "fda(at=stem)", eps="8/255", steps=2)
    linbp.craft(surrogate, images, labels, "mi >> ila(at=stem)", eps="8/255", steps=2)  # it guides


@pytest.mark.parametrize("text", ["mi", "mi(decay=0.5)", "ni", "ni(scale=l1)", "ni(decay=0.5)"])
def test_sums_in_half_precision_move_every_pixel(text: str) -> None:
    size = (1, 3, 256, 256)
    gradient = torch.from_numpy(np.random.default_rng(0).normal(size=size))
    half = gradient.half()
    half[half == 0] = 1e-3

    def bound(dtype: torch.dtype) -> UpdateState:
        budget = Budget(torch.full(size, 0.5, dtype=dtype), [8 / 255], norm="linf", rounding="inward")
        step = torch.full((1, 1, 1, 1), 1 / 255, dtype=dtype)
        nobody = Goal(labels=torch.zeros(1, dtype=torch.int64))
        return Recipe.parse(text).stages[-1].update.bind(Context(budget=budget, goal=nobody, step_size=step, steps=3))

    progress, exact = bound(torch.float16), bound(torch.float64)
    for _ in range(3):
        found, wanted = progress.direction(half), exact.direction(half.double())
    assert found.dtype == torch.float16
    assert torch.equal(found.sign(), wanted.sign().half())
    ahead = progress.look_ahead(torch.full(size, 0.5, dtype=torch.float16))
    assert ahead.dtype == torch.float16
    assert torch.allclose(ahead.double(), exact.look_ahead(torch.full(size, 0.5, dtype=torch.float64)), atol=5e-4)

    progress, lonely = bound(torch.float16), torch.zeros_like(half)
    lonely[0, 0, 0, 0] = 1  # 196,608 times the mean, which float16 does not hold
    for sign in (1, -1, 1):
        assert torch.isfinite(progress.direction(sign * lonely)).all()
