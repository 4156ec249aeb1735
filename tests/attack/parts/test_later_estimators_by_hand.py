"""GRA, MEF, GNP, RAP, DeCoWA and the updates that go with them against slow second implementations, image by image.

They share nothing with the package but the draws, whose keys are part of what is promised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from attack_by_hand import BALLS, COUNT, SEED, Attack, Case, networks
from sampled_by_hand import between_pixels
from tiny_networks import SIZE, images_and_labels
from torch.nn import functional

import linbp
from linbp.attack import Budget, Recipe
from linbp.errors import RecipeError

Estimate = Callable[[Case, np.ndarray, int], np.ndarray]
"""The gradient of one image at a step; the case keeps what must be remembered in `memory`."""


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float((first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum()))


def relevance(neighbours: int, radius: float) -> Estimate:
    def estimate(case: Case, image: np.ndarray, step: int) -> np.ndarray:
        here = case.gradient(image)
        points = [case.ball.noise(case.draw(step, f"neighbour {k}/gra"), radius) for k in range(neighbours)]
        around = np.mean([case.gradient(image + change) for change in points], axis=0)
        share = cosine(here, around)
        return share * here + (1 - share) * around

    return estimate


def flatness(samples: int, radius: float, inner: float, decay: float) -> Estimate:
    def estimate(case: Case, image: np.ndarray, step: int) -> np.ndarray:
        memory = vars(case).setdefault("memory", [np.zeros_like(image)] * samples)
        found = []
        for k in range(samples):
            change = case.ball.noise(case.draw(step, f"point {k}/mef"), radius)
            found.append(case.gradient(image + change + inner * case.ball.eps * memory[k]))
            memory[k] = case.ball.unit(found[-1]) - decay * memory[k]
        return np.mean(found, axis=0)

    return estimate


def penalty(weight: float, radius: float) -> Estimate:
    def estimate(case: Case, image: np.ndarray, step: int) -> np.ndarray:
        here = case.gradient(image)
        return (1 + weight) * here - weight * case.gradient(image + radius * here / np.sqrt((here**2).sum()))

    return estimate


def reverse(turns: int, radius: float, first: int) -> Estimate:
    def within(case: Case, image: np.ndarray, change: np.ndarray) -> np.ndarray:
        most = radius * case.ball.eps
        if case.ball.norm == "linf":
            change = np.clip(change, -most, most)
        else:
            change = change * min(1, most / np.sqrt((change**2).sum()))
        return np.clip(image + change, 0, 1) - image

    def estimate(case: Case, image: np.ndarray, step: int) -> np.ndarray:
        if step < first:
            return case.gradient(image)
        change = within(case, image, case.ball.noise(case.draw(step, "rap"), radius))
        for _ in range(turns):
            way = case.ball.direction(case.gradient(image + change))
            change = within(case, image, change - radius * case.ball.eps / turns * way)
        return case.gradient(image + change)

    return estimate


def spline(shift: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the warp of a shift (right, down) samples, in pixels: rows and columns (SIZE, SIZE)."""
    points = torch.tensor([[x, y] for y in (-1, 0, 1) for x in (-1, 0, 1)], dtype=torch.float64)
    goals = points + shift * (torch.arange(9) == 4)[:, None]

    def kernel(squared: torch.Tensor) -> torch.Tensor:
        return squared * torch.log(squared + 1e-9)

    system = torch.zeros(12, 12, dtype=torch.float64)
    system[:9, :9] = kernel(((points[:, None] - points[None]) ** 2).sum(-1))
    system[:9, 9], system[:9, 10:] = 1, points
    system[9:, :9] = system[:9, 9:].t()
    solved = torch.linalg.solve(system, torch.cat([goals, torch.zeros(3, 2).double()]))
    middles = (torch.arange(SIZE).double() + 0.5) / SIZE * 2 - 1
    at = torch.stack([middles[None].expand(SIZE, SIZE), middles[:, None].expand(SIZE, SIZE)], -1)
    basis = kernel(((at[:, :, None] - points) ** 2).sum(-1))
    led = torch.cat([basis, torch.ones(SIZE, SIZE, 1).double(), at], -1) @ solved
    pixels = (led + 1) * SIZE / 2 - 0.5
    return pixels[..., 1], pixels[..., 0]


def warping(warps: int, inner: float, reach: float) -> Estimate:
    def estimate(case: Case, image: np.ndarray, step: int) -> np.ndarray:
        def objective(value: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
            picture = between_pixels(value, *spline(shift))
            logits = torch.stack([net((picture[None] - 0.5) / 0.25) for net in case.nets]).mean(0)
            return functional.cross_entropy(logits, torch.tensor([case.label]))

        found = []
        for k in range(warps):
            value = torch.from_numpy(image.copy()).requires_grad_()
            drawn = case.draw(step, f"warp {k}/decowa").uniform(-reach, reach, 2)
            shift = torch.from_numpy(drawn).requires_grad_()
            (at_shift,) = torch.autograd.grad(objective(value, shift), shift)
            moved = (shift - inner * at_shift).detach()
            found.append(torch.autograd.grad(objective(value, moved), value)[0].numpy())
        return np.mean(found, axis=0)

    return estimate


def plain(case: Case, image: np.ndarray, step: int) -> np.ndarray:
    return case.gradient(image)


def with_momentum(estimate: Estimate, decay: float) -> Attack:
    def attack(case: Case, steps: int) -> np.ndarray:
        vars(case).pop("memory", None)
        total = np.zeros_like(case.clean)

        def direction(image: np.ndarray, step: int) -> np.ndarray:
            nonlocal total
            found = estimate(case, image, step)
            total = decay * total + found / np.abs(found).sum()
            return total

        return case.walk(steps, direction)

    return attack


def running_mean(case: Case, steps: int) -> np.ndarray:
    gradients: list[np.ndarray] = []

    def direction(image: np.ndarray, step: int) -> np.ndarray:
        gradients.append(case.gradient(image))
        return np.mean(gradients, axis=0)

    return case.walk(steps, direction)


def damped(estimate: Estimate, decay: float, shrink: float) -> Attack:
    """The published loop: sizes start at 1 / shrink and signs at 0, so that every value turns in the first step."""

    def attack(case: Case, steps: int) -> np.ndarray:
        image, total = case.clean, np.zeros_like(case.clean)
        size, before = np.full_like(image, 1 / shrink), np.zeros_like(image)
        for step in range(steps):
            found = estimate(case, image, step)
            total = decay * total + found / np.abs(found).sum()
            now = np.sign(total)
            size, before = np.where(now == before, size, size * shrink), now
            image = case.ball.project(image + case.step * size * case.ball.direction(total))
        return image

    return attack


ROWS: list[tuple[str, Attack, int]] = [
    ("gra(neighbours=2) + mi", with_momentum(relevance(2, 3.5), 1.0), 1),
    ("gra-mifgsm(neighbours=2, radius=1)", damped(relevance(2, 1.0), 1.0, 0.94), 2),
    ("damped-mi(decay=0.7, shrink=0.5)", damped(plain, 0.7, 0.5), 1),
    ("mef-mifgsm(samples=2)", with_momentum(flatness(2, 2.0, 0.15, 0.9), 0.5), 1),
    ("mef(samples=1, radius=0.5, inner=0.4, decay=0.3) + mi", with_momentum(flatness(1, 0.5, 0.4, 0.3), 1.0), 2),
    ("gnp-mifgsm", with_momentum(penalty(0.8, 0.01), 1.0), 1),
    ("gnp(weight=0.3, radius=0.5) + mi(decay=0.6)", with_momentum(penalty(0.3, 0.5), 0.6), 1),
    ("rap-mifgsm(steps=2, late=0.4)", with_momentum(reverse(2, 1.0, 1), 1.0), 1),
    ("rap(steps=3, radius=0.5, late=0) + mi", with_momentum(reverse(3, 0.5, 0), 1.0), 2),
    ("decowa-mifgsm(warps=2)", with_momentum(warping(2, 0.01, 1.0), 1.0), 1),
    ("decowa(warps=1, step=0.1, reach=0.3) + mi", with_momentum(warping(1, 0.1, 0.3), 1.0), 2),
    ("running-mean", running_mean, 1),
]


@pytest.fixture(scope="module")
def surrogates() -> list[linbp.Surrogate]:
    """The captured networks."""
    settings = {"input_size": (3, SIZE, SIZE), "mean": (0.5,) * 3, "std": (0.25,) * 3}
    return [linbp.Surrogate(linbp.Model(net, **settings)) for net in networks()[:2]]  # type: ignore[arg-type]


@pytest.fixture
def _unrounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Adversarial images as the loop leaves them, before they are put on the 8-bit grid."""
    with monkeypatch.context() as patch:
        patch.setattr(Budget, "finish", lambda budget, images: images)
        yield


@pytest.mark.usefixtures("_unrounded")
@pytest.mark.parametrize(("norm", "eps", "step"), BALLS, ids=["linf", "l2"])
@pytest.mark.parametrize(("text", "attack", "members"), ROWS, ids=[row[0] for row in ROWS])
def test_three_steps(
    surrogates: list[linbp.Surrogate], text: str, attack: Attack, members: int, norm: str, eps: float, step: float
) -> None:
    images, labels = images_and_labels(COUNT)
    cases = [Case(row, norm, step, eps, networks()[:members]) for row in range(COUNT)]
    options = {"eps": eps, "steps": 3, "step_size": step, "norm": norm, "seed": SEED}
    model = surrogates[0] if members == 1 else linbp.Ensemble(surrogates)
    found = linbp.craft(model, images, labels, text, **options)  # type: ignore[arg-type]
    expected = np.stack([attack(case, 3) for case in cases])
    assert np.abs(found.numpy() - expected).max() < 1e-9


@pytest.mark.parametrize(
    ("text", "steps", "members", "gradients"),
    [
        ("gra-mifgsm", 2, 1, 42),
        ("mef-mifgsm(samples=3)", 2, 2, 12),
        ("gnp-mifgsm", 3, 1, 6),
        ("rap-mifgsm", 8, 1, 2 + 6 * 9),
        ("rap(late=0)", 2, 2, 36),
        ("decowa-mifgsm", 2, 1, 80),
        ("decowa(step=0)", 2, 1, 40),
        ("decowa(warps=2) + bsr(copies=3)", 1, 1, 12),
        ("ops-mifgsm", 2, 1, 1800),
        ("anda", 2, 1, 50),
        ("dem-mifgsm", 2, 1, 10),
        ("ssa + bsr(copies=2) + sia(copies=3) + patchout", 1, 1, 120),
    ],
)
def test_gradients_are_counted(text: str, steps: int, members: int, gradients: int) -> None:
    assert Recipe.parse(text).gradients(steps, members) == gradients


@pytest.mark.parametrize(
    "text",
    [
        "gra(neighbours=0)",
        "mef(samples=0)",
        "mef(inner=-1)",
        "gnp(weight=0)",
        "gnp(radius=0)",
        "rap(steps=0)",
        "rap(late=1)",
        "decowa(warps=0)",
        "decowa(step=-1)",
        "decowa + tap",
        "damped-mi(shrink=1)",
        "damped-mi(decay=0)",
    ],
)
def test_values_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        Recipe.parse(text)
