"""Nesterov's momentum and every estimator against slow second implementations, image by image, in numpy.

They share nothing with the package but the draws, whose keys are part of what is promised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from attack_by_hand import BALLS, COUNT, SEED, Attack, Case, networks
from tiny_networks import CLASSES, SIZE, images_and_labels
from torch import nn

import linbp
from linbp.attack import Budget, Ensemble, Recipe
from linbp.errors import RecipeError
from linbp.randomness import generator


def unit(case: Case, gradient: np.ndarray) -> np.ndarray:
    return case.ball.unit(gradient)


def l1(case: Case, gradient: np.ndarray) -> np.ndarray:
    return gradient / np.abs(gradient).sum()


def nesterov(decay: float, divisor: Callable[[Case, np.ndarray], np.ndarray]) -> Attack:
    def attack(case: Case, steps: int) -> np.ndarray:
        total = np.zeros_like(case.clean)

        def direction(image: np.ndarray, step: int) -> np.ndarray:
            nonlocal total
            found = case.gradient(image + case.step * decay * total)
            total = decay * total + divisor(case, found)
            return total

        return case.walk(steps, direction)

    return attack


def variance_tuning(neighbours: int, radius: float, decay: float, ahead: bool) -> Attack:
    """VMI-FGSM, or with `ahead` VNI-FGSM, with all neighbours of the last step too."""

    def attack(case: Case, steps: int) -> np.ndarray:
        total, variance = np.zeros_like(case.clean), np.zeros_like(case.clean)

        def direction(image: np.ndarray, step: int) -> np.ndarray:
            nonlocal total, variance
            found = case.gradient(image + case.step * decay * total if ahead else image)
            tuned = found + variance
            total = decay * total + (case.ball.unit(tuned) if ahead else l1(case, tuned))
            around = [
                case.gradient(image + case.ball.noise(case.draw(step, f"neighbour {number}/vt"), radius))
                for number in range(neighbours)
            ]
            variance = np.mean(around, axis=0) - found
            return total

        return case.walk(steps, direction)

    return attack


def penalised(samples: int, radius: float, balance: float) -> Attack:
    """PGN with momentum."""

    def attack(case: Case, steps: int) -> np.ndarray:
        total = np.zeros_like(case.clean)

        def direction(image: np.ndarray, step: int) -> np.ndarray:
            nonlocal total
            every = []
            for number in range(samples):
                near = image + case.ball.noise(case.draw(step, f"near {number}/pgn"), radius)
                here = case.gradient(near)
                behind = case.gradient(near - case.step * case.ball.unit(here))
                every.append((1 - balance) * here + balance * behind)
            total = total + l1(case, np.mean(every, axis=0))
            return total

        return case.walk(steps, direction)

    return attack


def reduced(rounds: int, inner_decay: float, decay: float) -> Attack:
    """SVRE-MI-FGSM, with the published two gradients in each inner step."""

    def attack(case: Case, steps: int) -> np.ndarray:
        outer = np.zeros_like(case.clean)

        def direction(image: np.ndarray, step: int) -> np.ndarray:
            nonlocal outer
            members, choice = len(case.nets), generator(SEED, "", step, "svre")
            inner, total = image, np.zeros_like(image)
            ensemble = case.gradient(image)
            for _ in range(rounds * members):
                one = [case.nets[choice.integers(members)]]
                found = case.gradient(inner, one) - (case.gradient(image, one) - ensemble)
                total = inner_decay * total + case.ball.unit(found)
                inner = case.ball.project(inner + case.step * case.ball.direction(total))
            outer = decay * outer + l1(case, total)
            return outer

        return case.walk(steps, direction)

    return attack


def common_weakness(reverse: float, inner_step: float, inner_decay: float, decay: float) -> Attack:
    """MI-CWA."""

    def attack(case: Case, steps: int) -> np.ndarray:
        outer, inner_total = np.zeros_like(case.clean), np.zeros_like(case.clean)

        def direction(image: np.ndarray, step: int) -> np.ndarray:
            nonlocal outer, inner_total
            inner = image - reverse * case.ball.eps * case.ball.direction(case.gradient(image))
            for net in case.nets:
                found = case.gradient(inner, [net])
                inner_total = inner_decay * inner_total + found / np.sqrt((found**2).sum())
                inner = case.ball.project(inner + inner_step * inner_total)
            outer = decay * outer + l1(case, inner - image)
            return outer

        return case.walk(steps, direction)

    return attack


ROWS: list[tuple[str, Attack, int]] = [
    ("ni", nesterov(1.0, unit), 1),
    ("ni(decay=0.7)", nesterov(0.7, unit), 1),
    ("ni(scale=l1)", nesterov(1.0, l1), 1),
    ("vt(neighbours=3) + mi", variance_tuning(3, 1.5, 1.0, ahead=False), 1),
    ("vt(neighbours=2, radius=0.8) + ni(decay=0.9)", variance_tuning(2, 0.8, 0.9, ahead=True), 1),
    ("vt(neighbours=3) + mi", variance_tuning(3, 1.5, 1.0, ahead=False), 3),
    ("pgn(samples=3) + mi", penalised(3, 3.0, 0.5), 1),
    ("pgn(samples=2, radius=1.2, balance=0.3) + mi", penalised(2, 1.2, 0.3), 1),
    ("svre + mi", reduced(4, 1.0, 1.0), 3),
    ("svre(rounds=2, decay=0.6) + mi(decay=0.8)", reduced(2, 0.6, 0.8), 2),
    ("cwa + mi", common_weakness(1 / 15, 250, 1.0, 1.0), 3),
    ("cwa(inner_step=0.4, reverse_step=0.3, decay=0.5) + mi", common_weakness(0.3, 0.4, 0.5, 1.0), 3),
    ("cwa(reverse_step=0, inner_step=0.2) + mi(decay=0.7)", common_weakness(0, 0.2, 1.0, 0.7), 2),
]


@pytest.fixture(scope="module")
def surrogates() -> list[linbp.Surrogate]:
    """The captured networks."""
    models = [
        linbp.Model(net, input_size=(3, SIZE, SIZE), mean=(0.5,) * 3, std=(0.25,) * 3, name=f"net {number}")
        for number, net in enumerate(networks())
    ]
    return [linbp.Surrogate(model) for model in models]


@pytest.fixture
def unrounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Adversarial images as the loop leaves them, before they are put on the 8-bit grid."""
    with monkeypatch.context() as patch:
        patch.setattr(Budget, "finish", lambda budget, images: images)
        yield


def chosen(surrogates: list[linbp.Surrogate], members: int) -> linbp.Surrogate | Ensemble:
    return surrogates[0] if members == 1 else Ensemble(surrogates[:members])


@pytest.mark.usefixtures("unrounded")
@pytest.mark.parametrize(("norm", "eps", "step"), BALLS, ids=["linf", "l2"])
@pytest.mark.parametrize(("text", "attack", "members"), ROWS, ids=[f"{row[0]} on {row[2]}" for row in ROWS])
def test_the_first_three_iterates(
    surrogates: list[linbp.Surrogate], text: str, attack: Attack, members: int, norm: str, eps: float, step: float
) -> None:
    images, labels = images_and_labels(COUNT)
    cases = [Case(row, norm, step, eps, networks()[:members]) for row in range(COUNT)]
    for steps in range(Recipe.parse(text).stages[-1].update.fewest_steps, 4):
        options = {"eps": eps, "steps": steps, "step_size": step, "norm": norm, "seed": SEED}
        found = linbp.craft(chosen(surrogates, members), images, labels, text, **options)  # type: ignore[arg-type]
        expected = np.stack([attack(case, steps) for case in cases])
        assert np.abs(found.numpy() - expected).max() < 1e-9, f"after {steps} steps"


def test_the_literal_l1_norm_looks_nowhere(surrogates: list[linbp.Surrogate]) -> None:
    """With the printed norm the point ahead is 1 / (C H W) of a step away: Nesterov's momentum is momentum."""
    images, labels = images_and_labels(COUNT)
    first, second, third = (
        linbp.craft(surrogates[0], images, labels, text, eps=8 / 255, steps=6) for text in ("mi", "ni(scale=l1)", "ni")
    )
    assert (first != second).double().mean() < 0.02
    assert (first != third).double().mean() > 0.05


@pytest.mark.parametrize("fuse", ["logits", "probabilities", "losses"])
@pytest.mark.parametrize(
    ("text", "steps", "members", "gradients"),
    [
        ("mi", 3, 1, 3),
        ("mi", 3, 3, 9),
        ("ni", 4, 1, 4),
        ("vt + mi", 3, 1, 3 * 21 - 20),
        ("vt(neighbours=4) + ni", 3, 2, 2 * (3 * 5 - 4)),
        ("pgn + mi", 2, 1, 80),
        ("pgn(samples=3) + fgsm", 1, 2, 12),
        ("svre + mi", 2, 3, 2 * 3 * 6),
        ("svre(rounds=1)", 2, 2, 2 * 2 * 3),
        ("cwa + mi", 2, 3, 12),
        ("cwa(reverse_step=0)", 2, 3, 6),
        ("gra(neighbours=2) + damped-mi", 2, 1, 6),
        ("mef(samples=2)", 2, 2, 8),
        ("gnp + ssa(copies=2)", 2, 1, 8),
        ("rap(steps=2, late=0.5)", 2, 2, 2 * (1 + 3)),
        ("decowa(warps=1) + mi", 2, 1, 4),
        ("dem(scales=[1.3, 1.6]) + si(scales=2)", 2, 2, 16),
    ],
)
def test_gradients_are_counted_as_they_are_taken(
    surrogates: list[linbp.Surrogate],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    steps: int,
    members: int,
    gradients: int,
    fuse: linbp.attack.ensemble.Fuse,
) -> None:
    recipe, taken = Recipe.parse(text), 0
    assert recipe.gradients(steps, members) == gradients

    def counted(surrogate: linbp.Surrogate, images: torch.Tensor) -> torch.Tensor:
        nonlocal taken

        def count(gradient: torch.Tensor) -> None:
            nonlocal taken
            taken += len(gradient)

        if images.requires_grad:
            images.register_hook(count)
        return images

    for name in ("run", "observe"):
        ordinary = getattr(linbp.Surrogate, name)
        monkeypatch.setattr(
            linbp.Surrogate, name, lambda self, images, ordinary=ordinary: ordinary(self, counted(self, images))
        )
    images, labels = images_and_labels(COUNT)
    model = surrogates[0] if members == 1 else Ensemble(surrogates[:members], fuse)
    linbp.craft(model, images, labels, recipe, eps="8/255", steps=steps)
    assert taken == gradients * COUNT


@pytest.mark.parametrize("text", ["svre + mi", "cwa"])
def test_one_surrogate_is_refused_where_several_are_needed(surrogates: list[linbp.Surrogate], text: str) -> None:
    images, labels = images_and_labels(COUNT)
    with pytest.raises(RecipeError, match="only one") as caught:
        linbp.craft(surrogates[0], images, labels, text, eps="8/255", steps=2)
    assert "--surrogate several times" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("vt + mi", "would have no effect in 1 step"),
        ("ni", "ni would have no effect in 1 step"),
        ("vt + fgsm", "vt would have no effect in 1 step"),
    ],
)
def test_a_part_without_effect_in_one_step_is_refused(surrogates: list[linbp.Surrogate], text: str, words: str) -> None:
    images, labels = images_and_labels(COUNT)
    with pytest.raises(RecipeError, match=words):
        linbp.craft(surrogates[0], images, labels, text, eps="8/255", steps=1)


@pytest.mark.parametrize(
    "text",
    [
        "ni(decay=0)",
        "ni(scale=mean)",
        "vt(neighbours=0)",
        "vt(neighbours=2.5)",
        "vt(radius=0)",
        "pgn(samples=0)",
        "pgn(balance=0)",
        "pgn(balance=1.5)",
        "svre(rounds=0)",
        "svre(decay=-1)",
        "cwa(reverse_step=-0.1)",
        "cwa(inner_step=0)",
    ],
)
def test_values_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        Recipe.parse(text)


def test_images_without_gradient_stay_and_are_never_nan() -> None:
    class Dead(nn.Module):
        def __init__(self, shift: float) -> None:
            super().__init__()
            self.layer, self.shift = nn.Linear(3 * SIZE * SIZE, CLASSES).double(), shift

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.layer(images.flatten(1)) - self.shift)

    images, labels = images_and_labels(COUNT)
    pair = Ensemble([linbp.Model(Dead(shift), input_size=(3, SIZE, SIZE)) for shift in (1e4, 2e4)])
    for text in ("ni", "ni(scale=l1)", "vt(neighbours=2) + mi", "pgn(samples=2) + mi", "svre + mi", "cwa + mi"):
        for norm in ("linf", "l2"):
            adv = linbp.craft(pair, images, labels, text, eps="8/255", steps=2, norm=norm)  # type: ignore[arg-type]
            assert torch.equal((adv * 255).round(), images.double()), text
