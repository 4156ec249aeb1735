"""The loop's parts against a slow second implementation in numpy, and against answers known in advance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_networks import CLASSES, SIZE, Residual, images_and_labels, tiny
from torch import nn
from torch.nn import functional

import linbp
from linbp.attack import Budget, Context, DiverseInputs, Goal
from linbp.errors import ModelError
from linbp.randomness import Draws, generator

EPS, STEP, STEPS = 8 / 255, 1.5 / 255, 5


def module() -> tuple[Residual, linbp.Model]:
    model = tiny()
    return model.module.eval(), model  # type: ignore[return-value]


def gradient(images: np.ndarray, labels: list[int], net: nn.Module) -> np.ndarray:
    """Image by image, through the eager module."""
    rows = []
    for image, label in zip(images, labels, strict=True):
        value = torch.from_numpy(image[None].copy()).requires_grad_()
        loss = functional.cross_entropy(net((value - 0.5) / 0.25), torch.tensor([label]))
        rows.append(torch.autograd.grad(loss, value)[0][0].numpy())
    return np.stack(rows)


def grid(images: np.ndarray) -> np.ndarray:
    return np.round(images * 255) / 255


def attack(clean: np.ndarray, first: np.ndarray, direction) -> np.ndarray:  # type: ignore[no-untyped-def]
    current = first
    for step in range(STEPS):
        current = current + STEP * np.sign(direction(current, step))
        current = np.clip(np.clip(current, clean - EPS, clean + EPS), 0, 1)
    return grid(current)


@pytest.fixture
def setting():  # type: ignore[no-untyped-def]
    net, model = module()
    images, labels = images_and_labels(3)
    clean = images.numpy().astype(np.float64) / 255

    def craft(recipe: str) -> np.ndarray:
        return linbp.craft(model, images, labels, recipe, eps=EPS, steps=STEPS, step_size=STEP, seed=9).numpy()

    return net, clean, labels.tolist(), craft


def test_ifgsm(setting) -> None:  # type: ignore[no-untyped-def]
    net, clean, labels, craft = setting
    assert np.array_equal(craft("ifgsm"), attack(clean, clean, lambda at, _: gradient(at, labels, net)))


def test_momentum(setting) -> None:  # type: ignore[no-untyped-def]
    net, clean, labels, craft = setting
    total = np.zeros_like(clean)

    def direction(at: np.ndarray, _: int) -> np.ndarray:
        nonlocal total
        found = gradient(at, labels, net)
        total = 0.8 * total + found / np.abs(found).sum(axis=(1, 2, 3), keepdims=True)
        return total

    assert np.array_equal(craft("mi(decay=0.8)"), attack(clean, clean, direction))


def test_random_start_and_noise_are_keyed_by_image_and_step(setting) -> None:  # type: ignore[no-untyped-def]
    net, clean, labels, craft = setting

    def noise(step: int, purpose: str) -> np.ndarray:
        draws = [generator(9, str(index), step, purpose).random((3, SIZE, SIZE)) for index in range(3)]
        return (2 * np.stack(draws) - 1) * EPS

    first = np.clip(clean + noise(0, "random-start"), 0, 1)
    assert np.array_equal(craft("pgd"), attack(clean, first, lambda at, _: gradient(at, labels, net)))
    noisy = attack(clean, clean, lambda at, step: gradient(at + noise(step, "noise"), labels, net))
    assert np.array_equal(craft("pgd-noise"), noisy)


def test_diverse_inputs_by_index_arithmetic(setting) -> None:  # type: ignore[no-untyped-def]
    """Nearest-neighbour resizing, padding and resizing back is one choice of source pixel for every pixel."""
    net, clean, labels, craft = setting
    largest = int(SIZE * 1.5)

    def transformed(at: np.ndarray, step: int) -> np.ndarray:
        rows = []
        for index, image in enumerate(at):
            draw = generator(9, str(index), step, "di")
            if draw.random() >= 0.5:
                rows.append(gradient(image[None], labels[index : index + 1], net)[0])
                continue
            size = int(draw.integers(SIZE, largest))
            top, left = int(draw.integers(0, largest - size + 1)), int(draw.integers(0, largest - size + 1))
            padded = np.zeros((3, largest, largest))
            source = np.full((largest, largest), -1)
            for row in range(size):
                for column in range(size):
                    origin = (row * SIZE // size, column * SIZE // size)
                    padded[:, top + row, left + column] = image[:, origin[0], origin[1]]
                    source[top + row, left + column] = origin[0] * SIZE + origin[1]
            pick = np.arange(SIZE) * largest // SIZE
            found = gradient(padded[:, pick][:, :, pick][None], labels[index : index + 1], net)[0]
            back = np.zeros((3, SIZE * SIZE))
            for row in range(SIZE):
                for column in range(SIZE):
                    origin_pixel = source[pick[row], pick[column]]
                    if origin_pixel >= 0:
                        back[:, origin_pixel] += found[:, row, column]
            rows.append(back.reshape(3, SIZE, SIZE))
        return np.stack(rows)

    assert np.array_equal(craft("di(scale=1.5)"), attack(clean, clean, transformed))


def test_bilinear_diverse_inputs_are_what_torch_makes_of_the_image() -> None:
    image = torch.rand(1, 3, 20, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    budget = Budget((image * 255).round() / 255, [0.1], norm="linf", rounding="inward")
    context = Context(budget=budget, goal=Goal(labels=torch.zeros(1)), step_size=torch.ones(1, 1, 1, 1), steps=6)
    for step in range(6):
        draw = generator(0, "x", step, "di")
        draw.random()
        height = int(draw.integers(20, 28))
        width = round(14 * height / 20)
        top, left = int(draw.integers(0, 28 - height + 1)), int(draw.integers(0, max(19 - width, 0) + 1))
        around = (left, max(19 - width - left, 0), top, 28 - height - top)
        options = {"mode": "bilinear", "align_corners": False}
        large = functional.pad(functional.interpolate(image, size=(height, width), **options), around)
        expected = functional.interpolate(large, size=(20, 14), **options)
        found = DiverseInputs(probability=1.0, scale=1.4, interpolation="bilinear").apply(
            image, context, Draws(0, ["x"], step), 0
        )
        assert torch.allclose(found, expected, atol=1e-12)


def test_l2_steps_have_the_length_that_is_asked_for() -> None:
    _, model = module()
    images, labels = images_and_labels(2)
    surrogate = linbp.Surrogate(model)
    start = images.double() / 255
    start = start.clamp(0.3, 0.7).mul(255).round() / 255
    found = surrogate.gradient(start, labels)
    wanted = start + 0.4 * found / found.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    adv = linbp.craft(surrogate, start, labels, "ifgsm", eps=3.0, steps=1, step_size=0.4, norm="l2")
    assert (adv - wanted).abs().max() <= 0.5 / 255 + 1e-12


class Linear(nn.Module):
    """Logits w . x: every gradient is known."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.weight = nn.Parameter(torch.randn(2, 3 * 4 * 4, dtype=torch.float64))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.relu(images).flatten(1) @ self.weight.t()


def test_the_answer_on_a_linear_network() -> None:
    """FGSM and I-FGSM both end at clean + eps sign(w_other - w_label), and targeted ones at the opposite end."""
    net = Linear()
    model = linbp.Model(net, input_size=(3, 4, 4))
    clean = torch.full((2, 3, 4, 4), 128, dtype=torch.uint8)
    way = (net.weight[1] - net.weight[0]).detach().sign().view(3, 4, 4) * 8
    expected = torch.stack([128 + way, 128 - way])  # labels 0 and 1
    labels = torch.tensor([0, 1])
    for recipe, steps in (("fgsm", None), ("ifgsm", 8), ("ifgsm", 30), ("mi", 8), ("pgd", 30)):
        adv = linbp.craft(model, clean, labels, recipe, eps="8/255", steps=steps)
        assert torch.equal((adv * 255).round(), expected), recipe
        targeted = linbp.craft(model, clean, labels, recipe, eps="8/255", steps=steps, targets=1 - labels)
        assert torch.equal(targeted, adv), "with two classes, away from one is towards the other"


def test_an_image_without_gradient_stays_and_is_never_nan() -> None:
    class Dead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3 * SIZE * SIZE, CLASSES).double()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.layer(images.flatten(1)) - 1e4)

    images, labels = images_and_labels(2)
    model = linbp.Model(Dead(), input_size=(3, SIZE, SIZE))
    for recipe in ("ifgsm", "mi", "linbp(start=0, rebalance=site) + mi"):
        for norm in ("linf", "l2"):
            adv = linbp.craft(model, images, labels, recipe, eps="8/255", steps=3, norm=norm)  # type: ignore[arg-type]
            assert torch.isfinite(adv).all()
            assert torch.equal((adv * 255).round(), images.double()) or "linbp" in recipe


def test_nan_gradients_name_the_image() -> None:
    class Root(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.sqrt(images).flatten(1)[:, :4] * 2

    model = linbp.Model(Root().double(), input_size=(3, SIZE, SIZE))
    images = torch.full((2, 3, SIZE, SIZE), 100, dtype=torch.uint8)
    images[1] = 0
    with pytest.raises(ModelError, match="black"):
        linbp.craft(model, images, torch.tensor([0, 1]), "ifgsm", eps="8/255", steps=1, ids=["grey", "black"])
