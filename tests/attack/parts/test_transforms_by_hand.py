"""TI, SI and Admix against slow second implementations, in numpy and with plain autograd on the eager network.

They share nothing with the package but the draws, whose keys are part of what is promised. LinBP's own gradient is
taken from the package: it has tests of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_networks import SIZE, images_and_labels, tiny
from torch.nn import functional

import linbp
from linbp.attack import Admix, Budget, Context, Goal, Objective, Observation, Recipe, TranslationInvariant
from linbp.attack.parts.objective import Measure
from linbp.errors import RecipeError
from linbp.graph import Surrogate
from linbp.randomness import Draws, generator

COUNT, SEED = 3, 9
EPS, STEP = 8 / 255, 1.5 / 255
Gradient = Callable[[np.ndarray, int, str], np.ndarray]
"""From one image (C, H, W), its number and what keys the draws, to the gradient there."""


class Case:
    """Images, an eager network, and the gradients of its cross-entropy, one image at a time."""

    def __init__(self) -> None:
        self.model = tiny()
        self.net = self.model.module.eval()
        self.images, self.labels = images_and_labels(COUNT)
        self.clean = self.images.numpy().astype(np.float64) / 255
        self.others, self.classes = images_and_labels(9, seed=4)
        self.others[2] = self.images[1]  # the pool may hold an image that is attacked
        self.classes[2] = self.labels[1] + 1
        self.pool = linbp.Pool(self.others, self.classes)

    def plain(self, image: np.ndarray, number: int) -> np.ndarray:
        value = torch.from_numpy(image[None].copy()).requires_grad_()
        loss = functional.cross_entropy(self.net((value - 0.5) / 0.25), self.labels[number : number + 1])
        return torch.autograd.grad(loss, value)[0][0].numpy()

    def linear(self, image: np.ndarray, number: int) -> np.ndarray:
        surrogate = linbp.Surrogate(self.model, rule=linbp.LinBP(start=1))
        return surrogate.gradient(torch.from_numpy(image[None].copy()), self.labels[number : number + 1])[0].numpy()

    def craft(self, recipe: str, steps: int, **options: Any) -> np.ndarray:
        if "admix" in recipe:
            options["pool"] = self.pool
        return linbp.craft(
            self.model, self.images, self.labels, recipe, eps=EPS, steps=steps, step_size=STEP, seed=SEED, **options
        ).numpy()

    def attack(self, gradient: Gradient, steps: int, decay: float | None = None) -> np.ndarray:
        """I-FGSM, or MI-FGSM with `decay`, image by image, on the 8-bit grid."""
        rows = []
        for number, clean in enumerate(self.clean):
            current, total = clean, np.zeros_like(clean)
            for step in range(steps):
                found = gradient(current, number, f"{step}")
                total = found if decay is None else decay * total + found / np.abs(found).sum()
                current = np.clip(np.clip(current + STEP * np.sign(total), clean - EPS, clean + EPS), 0, 1)
            rows.append(np.round(current * 255) / 255)
        return np.stack(rows)


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


def kernel(size: int, shape: str, sigma: float) -> np.ndarray:
    """Weight by weight, as the paper writes them."""
    radius = (size - 1) // 2
    weights = np.zeros((size, size))
    for i in range(-radius, radius + 1):
        for j in range(-radius, radius + 1):
            weights[i + radius, j + radius] = {
                "gaussian": np.exp(-(i**2 + j**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2),
                "uniform": 1.0,
                "linear": (1 - abs(i) / (radius + 1)) * (1 - abs(j) / (radius + 1)),
            }[shape]
    return weights / weights.sum()


def convolved(gradient: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Place by place; what lies outside the image is left out of the sum."""
    radius, result = len(weights) // 2, np.zeros_like(gradient)
    channels, height, width = gradient.shape
    for channel in range(channels):
        for row in range(height):
            for column in range(width):
                for other_row in range(max(0, row - radius), min(height, row + radius + 1)):
                    for other_column in range(max(0, column - radius), min(width, column + radius + 1)):
                        weight = weights[row - other_row + radius, column - other_column + radius]
                        result[channel, row, column] += weight * gradient[channel, other_row, other_column]
    return result


def diverse(image: torch.Tensor, draw: np.random.Generator, scale: float) -> torch.Tensor:
    """Diverse inputs of one square image (C, H, H) by choosing, for each pixel, where it comes from."""
    if draw.random() >= 0.5:
        return image
    largest = int(SIZE * scale)
    size = int(draw.integers(SIZE, largest))
    top, left = int(draw.integers(0, largest - size + 1)), int(draw.integers(0, largest - size + 1))
    zero = torch.zeros(len(image), 1, dtype=image.dtype)
    flat = torch.cat([image.flatten(1), zero], 1)
    source = np.full((SIZE, SIZE), SIZE * SIZE)
    for row in range(SIZE):
        for column in range(SIZE):
            down, across = row * largest // SIZE - top, column * largest // SIZE - left
            if 0 <= down < size and 0 <= across < size:
                source[row, column] = (down * SIZE // size) * SIZE + across * SIZE // size
    return flat[:, torch.from_numpy(source.ravel())].view_as(image)


# --- translation invariance


@given(
    size=st.integers(1, 30).map(lambda radius: 2 * radius + 1),
    shape=st.sampled_from(["gaussian", "uniform", "linear"]),
    sigma=st.none() | st.floats(0.2, 50),
)
def test_a_kernel_sums_to_one_and_looks_the_same_from_both_sides(size: int, shape: Any, sigma: float | None) -> None:
    ti = TranslationInvariant(size=size, kernel=shape, sigma=sigma if shape == "gaussian" else None)
    weights = ti.weights()
    assert weights.shape == (size,)
    assert weights.sum().item() == pytest.approx(1, abs=1e-12)
    assert torch.equal(weights, weights.flip(0))
    assert (weights >= 0).all()
    assert (weights.diff()[: size // 2] >= 0).all()
    expected = kernel(size, shape, sigma or (size - 1) / 6)
    assert np.abs(np.outer(weights, weights) - expected).max() < 1e-12


def test_the_default_is_the_released_kernel() -> None:
    """The normal density at 15 points from -3 to 3, normalised."""
    density = np.exp(-(np.linspace(-3, 3, 15) ** 2) / 2)
    assert np.abs(TranslationInvariant().weights().numpy() - density / density.sum()).max() < 1e-15
    assert (np.linspace(-3, 3, 15)[8] * 7 / 3) == pytest.approx(1)  # one pixel is 3 / 7 of a standard deviation


@pytest.mark.parametrize("size", [(5, 9), (16, 7), (1, 1)])
@pytest.mark.parametrize(("length", "shape"), [(15, "gaussian"), (3, "uniform"), (7, "linear")])
def test_the_gradient_is_convolved_and_the_images_stay(size: tuple[int, int], length: int, shape: Any) -> None:
    """Also on images smaller than the kernel, and in float32."""
    draw = np.random.default_rng(0)
    images, incoming = draw.random((2, 4, *size)), draw.standard_normal((2, 4, *size))
    ti = TranslationInvariant(size=length, kernel=shape)
    context: Any = None  # the transform looks at nothing but the images
    for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 1e-6)):
        value = torch.from_numpy(images).to(dtype).requires_grad_()
        result = ti.apply(value, context, Draws(0, ["a", "b"], 0), 0)
        assert torch.equal(result, value)
        (found,) = torch.autograd.grad(result, value, torch.from_numpy(incoming).to(dtype))
        expected = np.stack([convolved(row, kernel(length, shape, (length - 1) / 6)) for row in incoming])
        assert found.dtype == dtype
        assert np.abs(found.numpy() - expected).max() < tolerance


@pytest.mark.parametrize("steps", [1, 2])
def test_ti(case: Case, steps: int) -> None:
    def smooth(at: np.ndarray, number: int, _: str) -> np.ndarray:
        return convolved(case.plain(at, number), kernel(15, "gaussian", 7 / 3))

    assert np.array_equal(case.craft("tifgsm", steps), case.attack(smooth, steps))
    if steps > 1:
        assert np.array_equal(case.craft("ti + mi(decay=0.9)", steps), case.attack(smooth, steps, 0.9))


def test_ti_with_diverse_inputs_momentum_and_linbp(case: Case) -> None:
    """The gradient is convolved at the image, behind diverse inputs, wherever ti stands in the sum."""

    def smooth(at: np.ndarray, number: int, step: str) -> np.ndarray:
        value = torch.from_numpy(at.copy()).requires_grad_()
        changed = diverse(value, generator(SEED, str(number), int(step), "di"), 1.5)
        at_input = torch.from_numpy(case.linear(changed.detach().numpy(), number))
        (found,) = torch.autograd.grad(changed, value, at_input)
        return convolved(found.numpy(), kernel(5, "gaussian", 3.0))

    expected = case.attack(smooth, 2, 1.0)
    for recipe in ("ti(size=5, sigma=3) + di(scale=1.5)", "di(scale=1.5) + ti(size=5, sigma=3)"):
        assert np.array_equal(case.craft(f"{recipe} + mi + linbp(start=1)", 2), expected)


def test_a_term_that_an_objective_takes_from_the_image_itself_is_convolved_too(case: Case) -> None:
    weight = torch.from_numpy(np.random.default_rng(3).standard_normal((3, SIZE, SIZE)))

    @dataclass(frozen=True, kw_only=True)
    class Nearness(Objective):
        kind = "objective"
        grammar_name = "nearness"

        def bind(self, context: Context, features: Any) -> Measure:
            def measure(seen: Observation) -> torch.Tensor:
                return (seen.images * weight).sum(dim=(1, 2, 3)) + 0 * seen.logits.sum(1)

            return measure

    recipe = Recipe.of([TranslationInvariant(size=5), Nearness()])
    adv = linbp.craft(
        case.model, torch.full_like(case.images, 128), case.labels, recipe, eps=EPS, steps=1, step_size="1/255"
    )
    expected = 128 + np.sign(convolved(weight.numpy(), kernel(5, "gaussian", 2 / 3)))
    assert np.array_equal(adv.numpy() * 255, np.broadcast_to(expected, adv.shape))
    assert not np.array_equal(expected, 128 + np.sign(weight.numpy()))


# --- scale invariance


def scaled_gradient(case: Case, at: np.ndarray, number: int, scales: int, centre: float) -> np.ndarray:
    total = np.zeros_like(at)
    for i in range(scales):
        total += case.plain(centre + (at - centre) / 2**i, number) / 2**i
    return total / scales


@pytest.mark.parametrize("steps", [1, 2])
def test_si(case: Case, steps: int) -> None:
    for text, scales, centre in (("sifgsm", 5, 0.0), ("si(scales=3, centre=0.5)", 3, 0.5)):

        def average(at: np.ndarray, number: int, _: str, scales: int = scales, centre: float = centre) -> np.ndarray:
            return scaled_gradient(case, at, number, scales, centre)

        assert np.array_equal(case.craft(text, steps), case.attack(average, steps))
    if steps > 1:
        expected = case.attack(lambda at, number, _: scaled_gradient(case, at, number, 5, 0.0), steps, 1.0)
        assert np.array_equal(case.craft("simifgsm", steps), expected)


def test_si_behind_the_image_and_diverse_inputs_afresh_for_every_scale(case: Case) -> None:
    def average(at: np.ndarray, number: int, step: str) -> np.ndarray:
        value = torch.from_numpy(at.copy()).requires_grad_()
        loss = torch.zeros((), dtype=torch.float64)
        for i in range(3):
            changed = diverse(value / 2**i, generator(SEED, str(number), int(step), f"copy {i}/di"), 1.5)
            logits = case.net((changed[None] - 0.5) / 0.25)
            loss = loss + functional.cross_entropy(logits, case.labels[number : number + 1])
        return convolved(torch.autograd.grad(loss, value)[0].numpy(), kernel(3, "uniform", 1))

    found = case.craft("si(scales=3) + di(scale=1.5) + ti(size=3, kernel=uniform) + mi", 2)
    assert np.array_equal(found, case.attack(average, 2, 1.0))


# --- Admix


def partners(case: Case, number: int, step: int, count: int) -> list[np.ndarray]:
    """Of another class and not the image itself, drawn once a step."""
    fits = []
    for index in range(len(case.others)):
        same = np.array_equal(case.others[index].numpy(), case.images[number].numpy())
        if not same and int(case.classes[index]) != int(case.labels[number]):
            fits.append(index)
    chosen = generator(SEED, str(number), step, "admix").choice(fits, size=count, replace=False)
    return [case.others[index].numpy() / 255 for index in chosen]


@pytest.mark.parametrize("steps", [1, 2])
def test_admix(case: Case, steps: int) -> None:
    def average(at: np.ndarray, number: int, step: str) -> np.ndarray:
        """Autograd through the mixing and the division, all copies in one sum."""
        value = torch.from_numpy(at.copy()).requires_grad_()
        losses = []
        for other in partners(case, number, int(step), 3):
            for i in range(5):
                mixed = (value + 0.2 * torch.from_numpy(other)) / 2**i
                logits = case.net((mixed[None] - 0.5) / 0.25)
                losses.append(functional.cross_entropy(logits, case.labels[number : number + 1]))
        return torch.autograd.grad(torch.stack(losses).mean(), value)[0].numpy()

    assert np.array_equal(case.craft("admix", steps), case.attack(average, steps))
    if steps > 1:
        assert np.array_equal(case.craft("admix-mifgsm", steps), case.attack(average, steps, 1.0))


def test_admix_around_mid_grey_is_the_released_code_on_values_of_minus_one_to_one(case: Case) -> None:
    def average(at: np.ndarray, number: int, step: str) -> np.ndarray:
        value = torch.from_numpy(2 * at - 1).requires_grad_()
        loss = torch.zeros((), dtype=torch.float64)
        for other in partners(case, number, int(step), 2):
            for i in range(2):
                mixed = (value + 0.3 * torch.from_numpy(2 * other - 1)) / 2**i
                logits = case.net(((mixed[None] + 1) / 2 - 0.5) / 0.25)
                loss = loss + functional.cross_entropy(logits, case.labels[number : number + 1])
        return torch.autograd.grad(loss, value)[0].numpy()

    found = case.craft("admix(strength=0.3, partners=2, scales=2, centre=0.5)", 2)
    assert np.array_equal(found, case.attack(average, 2))


def test_admix_with_diverse_inputs_translation_momentum_and_linbp(case: Case) -> None:
    def average(at: np.ndarray, number: int, step: str) -> np.ndarray:
        value = torch.from_numpy(at.copy()).requires_grad_()
        total = np.zeros_like(at)
        for copy, other in enumerate(partners(case, number, int(step), 2)):
            mixed = value + 0.2 * torch.from_numpy(other)
            changed = diverse(mixed, generator(SEED, str(number), int(step), f"copy {copy}/di"), 1.5)
            at_input = torch.from_numpy(case.linear(changed.detach().numpy(), number))
            total += torch.autograd.grad(changed, value, at_input)[0].numpy()
        return convolved(total, kernel(15, "gaussian", 7 / 3))

    found = case.craft("admix(partners=2, scales=1) + di(scale=1.5) + ti + mi + linbp(start=1)", 2)
    assert np.array_equal(found, case.attack(average, 2, 1.0))


def test_partners_are_shared_by_the_scales_and_drawn_afresh_for_steps_and_samples(case: Case) -> None:
    budget = Budget(torch.from_numpy(case.clean), [EPS] * COUNT, norm="linf", rounding="inward")
    context = Context(
        budget=budget, goal=Goal(labels=case.labels), step_size=torch.ones(COUNT, 1, 1, 1), steps=8, pool=case.pool
    )
    admix, draws = Admix(), Draws(SEED, ["0", "1", "2"], 0)

    def added(draws: Draws, partner: int, scale: int) -> torch.Tensor:
        changed = admix.apply(budget.clean, context, draws, partner * 5 + scale)
        return (changed * 2**scale - budget.clean) / 0.2

    for partner in range(3):
        for scale in range(1, 5):
            assert torch.allclose(added(draws, partner, scale), added(draws, partner, 0), atol=1e-9)
    three = [added(draws, partner, 0) for partner in range(3)]
    for one, other in itertools.combinations(three, 2):
        assert not any(torch.allclose(one[row], other[row]) for row in range(COUNT))
    for other_draws in (draws.at(1), draws.under("sample 1")):
        again = [added(other_draws, partner, 0) for partner in range(3)]
        assert not all(torch.allclose(one, other) for one, other in zip(again, three, strict=True))


# --- what every copy costs, and what is refused


@pytest.mark.parametrize(
    ("recipe", "each"),
    [("ti", 1), ("si", 5), ("si(scales=2) + di(scale=1.5) + ti", 2), ("admix", 15), ("admix(partners=2, scales=3)", 6)],
)
def test_every_copy_is_counted(case: Case, monkeypatch: pytest.MonkeyPatch, recipe: str, each: int) -> None:
    """As often as the surrogate is really run."""
    runs = 0
    observe = Surrogate.observe

    def counted(self: Surrogate, images: torch.Tensor) -> Any:
        nonlocal runs
        runs += len(images)
        return observe(self, images)

    monkeypatch.setattr(Surrogate, "observe", counted)
    case.craft(recipe, 2)
    assert runs == COUNT * Recipe.parse(recipe).gradients(2) == COUNT * 2 * each


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ti(size=4)", ("no middle", "3 or 5")),
        ("ti(size=1)", ("at least 3",)),
        ("ti(size=7.5)", ("whole number",)),
        ("ti(sigma=0)", ("sigma",)),
        ("ti(sigma=0.1)", ("no effect", "half a pixel")),
        ("ti(kernel=linear, sigma=2)", ("no effect", "Leave sigma out")),
        ("ti(kernel=round)", ("gaussian, uniform, linear",)),
        ("si(scales=1)", ("at least 2",)),
        ("si(centre=2)", ("from 0 to 1",)),
        ("admix(partners=0)", ("at least 1",)),
        ("admix(strength=0)", ("strength",)),
        ("admix + si", ("scale them twice", "scales=")),
        ("si + mi + admix", ("scale them twice", "Leave one of the two out")),
        ("ti + ti(size=3)", ("twice",)),
    ],
)
def test_what_is_refused_says_why(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.parse(text)
    told = f"{caught.value.message} {caught.value.hint}"
    for word in words:
        assert word in told
