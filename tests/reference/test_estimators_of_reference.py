"""GRA, MEF, ANDA, RAP and GNP: gradients and images of public code, computed again from the same draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from choices import uniform
from later_attacks import clean, context, drawn, labels, numbers, oracle, relative_error, sparse, surrogate

import linbp
from linbp.attack import Budget
from linbp.attack.parts.estimator import ExpectedFlatness, GradientRelevance, ReversePerturbation
from linbp.attack.parts.transform import ShiftGrid
from linbp.randomness import Draws

FILE, TOLERANCE = "resnet18_estimators", 1e-6
Draw = Callable[[int, int], torch.Tensor]
"""From the step and the number of a point, uniform numbers (2, 3, 64, 64)."""


def give(monkeypatch: pytest.MonkeyPatch, draw: Draw) -> None:
    """Let the budget draw what the file's code drew."""

    def sample(self: Budget, draws: Draws, purpose: str, radius: float) -> torch.Tensor:
        name = draws.prefix.removesuffix("/").split("/")[-1]
        return draw(draws.step, int(name.split()[-1]) if name else 0) * self.eps * radius

    monkeypatch.setattr(Budget, "sample", sample)


def crafted(recipe: str, steps: int) -> np.ndarray:
    """The change in levels."""
    options: dict[str, Any] = {"eps": 8 / 255, "steps": steps, "step_size": 2 / 255}
    return ((linbp.craft(surrogate("resnet18"), clean(), labels(FILE), recipe, **options) - clean()) * 255).numpy()


def gra_draw(step: int, point: int) -> torch.Tensor:
    return drawn(FILE, uniform, 4 * step + point)[:, 0]


def mef_draw(step: int, point: int) -> torch.Tensor:
    return drawn(FILE, uniform, step, shape=(4, 1, 3, 64, 64))[:, point, 0]


def rap_draw(step: int, _: int) -> torch.Tensor:
    return drawn(FILE, uniform, step)[:, 0]


def test_gra(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, gra_draw)
    stored = numbers(FILE)
    estimate = GradientRelevance(neighbours=4).bind(context(FILE))
    assert relative_error(sparse(estimate(oracle(FILE, clean()), clean())), stored["gra_grad"][:, 0]) < TOLERANCE
    monkeypatch.setattr(Budget, "finish", lambda self, images: images)  # iterates leave the 8-bit grid
    change = torch.from_numpy(crafted("gra-mifgsm(neighbours=4)", 3)) / 255
    assert np.abs(sparse(change) - stored["gra_delta"]).max() < 1e-7


def test_mef(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, mef_draw)
    stored = numbers(FILE)
    estimate = ExpectedFlatness(samples=4).bind(context(FILE))
    assert relative_error(sparse(estimate(oracle(FILE, clean()), clean())), stored["mef_grad"][:, 0]) < TOLERANCE
    change = torch.from_numpy(crafted("mef-mifgsm(samples=4)", 3))
    assert np.array_equal(sparse(change).round(), stored["mef_change"])


def test_rap(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, rap_draw)
    asked: list[torch.Tensor] = []
    question = oracle(FILE, clean())

    def gradient(images: torch.Tensor, draws: Draws) -> torch.Tensor:
        asked.append(images)
        return question.together(images, draws)

    estimate = ReversePerturbation(steps=4, late=0).bind(context(FILE))
    found = estimate(linbp.attack.GradientOracle(**{**vars(question), "together": gradient}), clean())
    stored = numbers(FILE)
    assert np.abs(sparse(asked[-1] - clean()) - stored["rap_reverse"]).max() < 1e-7
    assert relative_error(sparse(found), stored["rap_grad"][:, 0]) < TOLERANCE
    assert len(asked) == 5


def test_anda() -> None:
    stored, grid, asked = numbers(FILE), ShiftGrid(), oracle(FILE, clean())
    total = torch.zeros_like(clean())
    for copy in range(grid.copies):
        leaf = clean().clone().requires_grad_()
        moved = grid.apply(leaf, context(FILE), asked.draws, copy)
        total += torch.autograd.grad(moved, leaf, asked.gradient(moved.detach()))[0] / grid.copies
    assert relative_error(sparse(total), stored["anda_mean"][:, 0]) < TOLERANCE


def test_gnp_at_the_points_of_transferattack() -> None:
    """Its sign and its length of the second step are others; the gradients that it sums are ours."""
    asked = oracle(FILE, clean())
    here = asked.gradient(clean())
    there = asked.gradient(clean() + 0.01 * context(FILE).budget.unit(here))
    assert relative_error(sparse(1.8 * here + 0.8 * there), numbers(FILE)["gnp_ta_grad"]) < TOLERANCE
