"""FIA, NAA, BFA and ILPD: weights, gradients and images of the formulas, computed again from the same draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from choices import normal, uniform
from later_attacks import (
    STD,
    clean,
    context,
    drawn,
    levels,
    moved,
    numbers,
    recorded,
    relative_error,
    surrogate,
)

import linbp
from linbp.attack import FeatureOracle, Objective, Observation, Plain, Recipe
from linbp.attack.parts.objective import Score, weighted_map
from linbp.randomness import Draws

FILE, AT, TOLERANCE = "resnet18_objectives", "layer2", 1e-6
LENGTH = 28 / (3 * 64 * 64) ** 0.5
"""28 as a root mean square at 64 pixels."""
scale = torch.tensor(STD, dtype=torch.float64).view(3, 1, 1)


class Drawn(Draws):
    """What the file's code drew, in the generators' place."""

    def generators(self, purpose: str) -> list[Any]:
        call = int(purpose.rsplit(maxsplit=1)[-1])
        return [_Fixed(image, call) for image in range(2)]


class _Fixed:
    def __init__(self, image: int, call: int) -> None:
        self.image, self.call = image, call

    def random(self, shape: Any) -> np.ndarray:
        return drawn(FILE, uniform, self.call, 0, 1)[self.image, 0].numpy()

    def standard_normal(self, shape: Any) -> np.ndarray:
        return (drawn(FILE, normal, self.call)[self.image, 0] * scale).numpy()


class Probability(FeatureOracle):
    """Weights from the label's probability where the package takes its logit, as in TransferAttack's FIA."""

    def gradients(self, images: torch.Tensor, score: Score) -> Mapping[str, torch.Tensor]:
        return super().gradients(images, lambda logits: score(logits.softmax(1)))


class FromBlack(FeatureOracle):
    """Weights at points from black on, without the image itself, as in TransferAttack's NAA."""

    def gradients(self, images: torch.Tensor, score: Score) -> Mapping[str, torch.Tensor]:
        return super().gradients(images - clean() / 30, score)


class Normalised(FeatureOracle):
    """Gradients with respect to the normalised image, as in the authors' code of BFA."""

    def image_gradients(self, images: torch.Tensor, score: Score) -> torch.Tensor:
        return super().image_gradients(images, score) * scale


def weights_and_gradient(objective: Objective, oracle: type[FeatureOracle] = FeatureOracle) -> tuple[torch.Tensor, ...]:
    """The weights of `layer2`, and the gradient of weights x map at the clean images."""
    assert objective.feature_maps(surrogate("resnet18").structure) == (AT,)
    reading = surrogate("resnet18").reading([AT])
    measure = objective.bind(context(FILE), oracle(surrogate=reading, draws=Drawn(0, ["0", "1"], 0)))
    leaf = clean().requires_grad_()
    logits, features = reading.observe(leaf)
    values: Mapping[str, torch.Tensor] = {AT: features[AT]}
    total = measure(Observation(logits=logits, features=values, images=leaf)).sum()
    return torch.autograd.grad(total, (features[AT], leaf))


def objective(text: str) -> Objective:
    return Recipe.parse(text).stages[-1].objective


def check(name: str, weights: torch.Tensor, gradient: torch.Tensor) -> None:
    assert relative_error(weights, numbers(FILE)[f"{name}_weights"]) < TOLERANCE
    assert relative_error(gradient, numbers(FILE)[f"{name}_grad"]) < TOLERANCE


def test_fia() -> None:
    check("fia", *weights_and_gradient(objective("fia")))


def test_naa() -> None:
    check("naa", *weights_and_gradient(objective("naa(noise=0.2)")))  # the drawn noise is on the normalised scale


def check_of_transferattack(monkeypatch: pytest.MonkeyPatch, name: str, text: str, oracle: type[FeatureOracle]) -> None:
    """The file has the gradient of what is decreased; steps have no momentum."""
    _, gradient = weights_and_gradient(objective(text), oracle)
    assert relative_error(-gradient, numbers(FILE)[f"{name}_grad"]) < TOLERANCE
    monkeypatch.setattr(linbp.attack.gradients, "FeatureOracle", oracle)
    monkeypatch.setattr(Draws, "generators", Drawn.generators)
    assert np.array_equal(levels(moved(FILE, text)), numbers(FILE)[f"{name}_change"])


@pytest.mark.slow
def test_fia_of_transferattack(monkeypatch: pytest.MonkeyPatch) -> None:
    check_of_transferattack(monkeypatch, "fia_ta", "fia", Probability)


@pytest.mark.slow
def test_naa_of_transferattack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights are the mean over the points, whatever its length."""
    monkeypatch.setattr(weighted_map, "euclidean", lambda total: torch.full_like(total[:, :1, :1, :1], 30))
    check_of_transferattack(monkeypatch, "naa_ta", "naa(noise=0)", FromBlack)


@pytest.mark.slow
def test_bfa() -> None:
    check("bfa", *weights_and_gradient(objective(f"bfa(radius={LENGTH!r})"), Normalised))


def test_bfa_of_three_fits() -> None:
    weights, _ = weights_and_gradient(objective(f"bfa(samples=3, radius={LENGTH!r})"), Normalised)
    assert relative_error(weights, numbers(FILE)["bfa3_weights"]) < TOLERANCE


@pytest.mark.slow
def test_the_images_of_bfa(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its momentum is on the normalised scale, and so are its steps, whose signs do not change by that."""
    monkeypatch.setattr(linbp.attack.gradients, "FeatureOracle", Normalised)
    momentum = linbp.attack.Momentum.bind

    def weighed(self: Any, context: Any) -> Any:
        state = momentum(self, context)
        direction = state.direction
        monkeypatch.setattr(state, "direction", lambda gradient: direction(gradient * scale), raising=False)
        return state

    monkeypatch.setattr(linbp.attack.Momentum, "bind", weighed)
    change = moved(FILE, f"bfa-mifgsm(radius={LENGTH!r})", eps=10 / 255)
    assert np.array_equal(levels(change), numbers(FILE)["bfa_change"])


@pytest.mark.parametrize(("name", "sigma", "steps"), [("ilpd", 0.05, [0, 1]), ("ilpd_nonoise", 0.0, [1])])
def test_ilpd(monkeypatch: pytest.MonkeyPatch, name: str, sigma: float, steps: list[int]) -> None:
    """Sign steps: gradients of the first two, and the images after five."""
    found = recorded(monkeypatch, Plain)

    def beside(self: Any, context: Any, draws: Draws) -> torch.Tensor:
        return clean() + sigma * drawn(FILE, normal, draws.step)[:, 0]

    monkeypatch.setattr(linbp.attack.IntermediateDecay, "beside", beside)
    change = moved(FILE, f"ilpd(at=layer2, sigma={sigma})")
    gradients = torch.stack([found[step] for step in steps], dim=1)
    assert relative_error(gradients, numbers(FILE)[f"{name}_grad"]) < TOLERANCE
    assert np.array_equal(levels(change), numbers(FILE)[f"{name}_change"])
