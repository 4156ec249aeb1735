"""FIA, NAA and BFA: weights, gradients and images of the published formulas, computed again from the same draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from choices import normal, uniform
from later_attacks import STD, clean, context, drawn, labels, numbers, relative_error, sparse, surrogate

import linbp
from linbp.attack import FeatureOracle, Objective, Observation, Recipe
from linbp.attack.parts.objective import Score
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


class Normalised(FeatureOracle):
    """Gradients with respect to the normalised image, as in the authors' code of BFA."""

    def image_gradients(self, images: torch.Tensor, score: Score) -> torch.Tensor:
        return super().image_gradients(images, score) * scale


def weights_and_gradient(objective: Objective, oracle: type[FeatureOracle] = FeatureOracle) -> tuple[np.ndarray, Any]:
    """The weights of `layer2`, and the gradient of weights x map at the clean images."""
    assert objective.feature_maps(surrogate("resnet18").structure) == (AT,)
    reading = surrogate("resnet18").reading([AT])
    measure = objective.bind(context(FILE), oracle(surrogate=reading, draws=Drawn(0, ["0", "1"], 0)))
    leaf = clean().requires_grad_()
    logits, features = reading.observe(leaf)
    values: Mapping[str, torch.Tensor] = {AT: features[AT]}
    total = measure(Observation(logits=logits, features=values, images=leaf)).sum()
    found, gradient = torch.autograd.grad(total, (features[AT], leaf))
    return found.numpy(), gradient


def objective(text: str) -> Objective:
    return Recipe.parse(text).stages[-1].objective


def check(name: str, found: np.ndarray, gradient: torch.Tensor) -> None:
    stored = numbers(FILE)
    if f"{name}_weights" in stored:
        assert relative_error(found, stored[f"{name}_weights"]) < TOLERANCE
    if f"{name}_grad" in stored:
        assert relative_error(sparse(gradient), stored[f"{name}_grad"]) < TOLERANCE


def test_fia() -> None:
    check("fia", *weights_and_gradient(objective("fia")))


def test_naa() -> None:
    check("naa", *weights_and_gradient(objective("naa(noise=0.2)")))  # the drawn noise is on the normalised scale


@pytest.mark.slow
@pytest.mark.parametrize(("name", "samples"), [("bfa", 30), ("bfa3", 3)])
def test_bfa(name: str, samples: int) -> None:
    found = weights_and_gradient(objective(f"bfa(samples={samples}, radius={LENGTH!r})"), Normalised)
    check(name, *found)


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
    options: dict[str, Any] = {"eps": 10 / 255, "steps": 5, "step_size": 2 / 255}
    adv = linbp.craft(surrogate("resnet18"), clean(), labels(FILE), f"bfa-mifgsm(radius={LENGTH!r})", **options)
    change = ((adv - clean()) * 255).round()
    assert np.array_equal(sparse(change), numbers(FILE)["bfa_change"])


@pytest.mark.parametrize(("name", "sigma", "steps"), [("ilpd", 0.05, [0, 1]), ("ilpd_nonoise", 0.0, [1])])
def test_ilpd(monkeypatch: pytest.MonkeyPatch, name: str, sigma: float, steps: list[int]) -> None:
    """Sign steps: gradients of the first two, and the images after five."""
    found: list[torch.Tensor] = []

    def bind(self: Any, context: Any) -> Any:
        def estimate(oracle: Any, images: torch.Tensor) -> torch.Tensor:
            found.append(oracle.gradient(images))
            return found[-1]

        return estimate

    def beside(self: Any, context: Any, draws: Draws) -> torch.Tensor:
        return clean() + sigma * drawn(FILE, normal, draws.step)[:, 0]

    monkeypatch.setattr(linbp.attack.Plain, "bind", bind)
    monkeypatch.setattr(linbp.attack.IntermediateDecay, "beside", beside)
    options: dict[str, Any] = {"eps": 8 / 255, "steps": 5, "step_size": 2 / 255}
    recipe = f"ilpd(at=layer2, sigma={sigma})"
    adv = linbp.craft(surrogate("resnet18"), clean(), labels(FILE), recipe, **options)
    stored = numbers(FILE)
    for at, step in enumerate(steps):
        assert relative_error(sparse(found[step]), stored[f"{name}_grad"][:, at]) < TOLERANCE
    assert np.array_equal(sparse(((adv - clean()) * 255).round()), stored[f"{name}_change"])
