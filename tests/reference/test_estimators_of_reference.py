"""GRA, MEF, ANDA, RAP and GNP: gradients and images of public code, computed again from the same draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from choices import uniform
from later_attacks import clean, drawn, levels, moved, numbers, recorded, relative_error

from linbp.attack import Budget, Context
from linbp.attack.gradients import StageGradients
from linbp.attack.image_norms import absolute_mean
from linbp.attack.parts.estimator import (
    Estimate,
    ExpectedFlatness,
    GradientRelevance,
    NormPenalty,
    ReversePerturbation,
    norm_penalty,
)
from linbp.attack.parts.update import RunningMean
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


def gra_draw(step: int, point: int) -> torch.Tensor:
    return drawn(FILE, uniform, 4 * step + point)[:, 0]


def mef_draw(step: int, point: int) -> torch.Tensor:
    return drawn(FILE, uniform, step, shape=(4, 1, 3, 64, 64))[:, point, 0]


def rap_draw(step: int, _: int) -> torch.Tensor:
    return drawn(FILE, uniform, step)[:, 0]


def check_steps(found: list[torch.Tensor], name: str) -> None:
    """Those of the first two steps."""
    assert relative_error(torch.stack(found[:2], dim=1), numbers(FILE)[name]) < TOLERANCE


def test_gra(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, gra_draw)
    found = recorded(monkeypatch, GradientRelevance)
    monkeypatch.setattr(Budget, "finish", lambda self, images: images)  # iterates leave the 8-bit grid
    change = moved(FILE, "gra-mifgsm(neighbours=4)", steps=3)
    check_steps(found, "gra_grad")
    assert relative_error(change, numbers(FILE)["gra_delta"]) < TOLERANCE


def test_mef(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, mef_draw)
    found = recorded(monkeypatch, ExpectedFlatness)
    change = moved(FILE, "mef-mifgsm(samples=4)", steps=3)
    check_steps(found, "mef_grad")
    assert np.array_equal(levels(change), numbers(FILE)["mef_change"])


def test_rap(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, rap_draw)
    found, asked = recorded(monkeypatch, ReversePerturbation), list[torch.Tensor]()
    together = StageGradients.together

    def asking(self: StageGradients, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        asked.append(images)
        return together(self, images, draws)

    monkeypatch.setattr(StageGradients, "together", asking)
    moved(FILE, "rap-mifgsm(steps=4, late=0)", steps=2)
    assert len(asked) == 2 * 5
    assert relative_error(asked[4] - clean(), numbers(FILE)["rap_reverse"]) < TOLERANCE
    check_steps(found, "rap_grad")


@pytest.mark.exhaustive
@pytest.mark.slow
def test_anda(monkeypatch: pytest.MonkeyPatch) -> None:
    found, bind = list[torch.Tensor](), RunningMean.bind

    def keeping(self: RunningMean, context: Context) -> Any:
        state = bind(self, context)
        direction = state.direction

        def keep(gradient: torch.Tensor) -> torch.Tensor:
            total = direction(gradient)
            found.append(total / (len(found) + 1))
            return total

        monkeypatch.setattr(state, "direction", keep, raising=False)
        return state

    monkeypatch.setattr(RunningMean, "bind", keeping)
    change = moved(FILE, "anda")
    check_steps(found, "anda_mean")
    assert np.array_equal(levels(change), numbers(FILE)["anda_change"])


def test_gnp_of_transferattack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its second point lies 0.01 g / mean|g| away, and its gradient is added where ours is taken away."""
    monkeypatch.setattr(norm_penalty, "euclidean", absolute_mean)
    bind = NormPenalty.bind

    def added(self: NormPenalty, context: Context) -> Estimate:
        estimate = bind(self, context)
        return lambda asked, images: 2 * (1 + self.weight) * asked.gradient(images) - estimate(asked, images)

    monkeypatch.setattr(NormPenalty, "bind", added)
    found = recorded(monkeypatch, NormPenalty)
    change = moved(FILE, "gnp-mifgsm")
    assert relative_error(found[0], numbers(FILE)["gnp_ta_grad"]) < TOLERANCE
    assert np.array_equal(levels(change), numbers(FILE)["gnp_ta_change"])
