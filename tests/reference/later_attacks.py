"""The networks, images and draws of the reference numbers of attacks of 2020 to 2025."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from choices import pictures
from reference_networks import DATA
from weights import fill
from weights_vit import fill_vit

import linbp
from linbp import Surrogate
from linbp.attack import Budget, Context, Estimator, Goal, GradientOracle
from linbp.models import Model
from linbp.randomness import Draws

__all__ = [
    "clean",
    "context",
    "drawn",
    "labels",
    "levels",
    "moved",
    "net",
    "network_of",
    "numbers",
    "oracle",
    "recorded",
    "relative_error",
    "surrogate",
]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SEEDS = {"resnet18": (60, 70), "densenet121": (61, 71), "vit_tiny": (40, 50), "deit_tiny": (41, 51)}
"""Of weights and pictures."""
SIDES = {"resnet18": 64, "densenet121": 64, "vit_tiny": 224, "deit_tiny": 224}


@functools.cache
def numbers(file: str) -> dict[str, np.ndarray]:
    """One file of numbers."""
    with np.load(DATA / f"{file}.npz") as stored:
        return dict(stored)


def network_of(file: str) -> str:
    """The network that a file's numbers were computed on."""
    return next(name for name in SEEDS if file.startswith(name))


def relative_error(found: torch.Tensor, expected: np.ndarray) -> float:
    """|found - expected| / |expected|, L2."""
    wide = expected.astype(np.float64)
    assert found.shape == wide.shape
    return float(np.linalg.norm(found.detach().double().numpy() - wide) / np.linalg.norm(wide))


def net(name: str) -> torch.nn.Module:
    """A network of torchvision or timm with weights from its seed, in float64."""
    if SIDES[name] == 224:
        module: torch.nn.Module = timm.create_model(f"{name}_patch16_224")
        fill_vit(module.state_dict(), SEEDS[name][0])
    else:
        module = getattr(torchvision.models, name)()
        fill(module.state_dict(), SEEDS[name][0])
    return module.eval().double()


@functools.cache
def surrogate(name: str) -> Surrogate:
    """The captured network."""
    mean, std = ((0.5,) * 3, (0.5,) * 3) if name == "vit_tiny" else (MEAN, STD)
    model = Model(net(name), input_size=(3, SIDES[name], SIDES[name]), mean=mean, std=std, name=name)
    return Surrogate(model, fold_batch_norm=False)


@functools.cache
def clean(name: str = "resnet18") -> torch.Tensor:
    """The two pictures in [0, 1], (2, 3, side, side), float64."""
    return torch.from_numpy(pictures(SEEDS[name][1], 2, SIDES[name])).double() / 255


def labels(file: str) -> torch.Tensor:
    """Of both pictures."""
    return torch.from_numpy(numbers(file)["labels"])


def drawn(file: str, make: Any, call: int, *options: Any, shape: tuple[int, ...] = (1, 3, 64, 64)) -> torch.Tensor:
    """What call number `call` drew for each picture, (2, *shape)."""
    seed = int(numbers(file)["draws"])
    return torch.from_numpy(np.stack([make(seed + 1000 * image + call, shape, *options) for image in range(2)]))


def context(file: str, eps: float = 8 / 255, steps: int = 5) -> Context:
    """The two pictures under attack."""
    return Context(
        budget=Budget(clean(), [eps, eps], norm="linf", rounding="inward"),
        goal=Goal(labels=labels(file)),
        step_size=torch.full((2, 1, 1, 1), 2 / 255, dtype=torch.float64),
        steps=steps,
    )


def oracle(file: str, iterate: torch.Tensor, step: int = 0) -> GradientOracle:
    """Gradients of the cross-entropy of ResNet-18."""

    def gradient(images: torch.Tensor, draws: Draws) -> torch.Tensor:
        return surrogate("resnet18").gradient(images, labels(file))

    return GradientOracle(
        step=step, draws=Draws(0, ["0", "1"], step), iterate=iterate, together=gradient, each=(gradient,)
    )


def moved(file: str, recipe: str, *, eps: float = 8 / 255, steps: int = 5) -> torch.Tensor:
    """What an attack of steps of 2/255 adds to the two pictures."""
    name = network_of(file)
    adv = linbp.craft(surrogate(name), clean(name), labels(file), recipe, eps=eps, steps=steps, step_size=2 / 255)
    return torch.as_tensor(adv) - clean(name)


def levels(change: torch.Tensor) -> np.ndarray:
    """A change between 8-bit images, in levels."""
    return (change * 255).round().numpy()


def recorded(monkeypatch: pytest.MonkeyPatch, estimator: type[Estimator]) -> list[torch.Tensor]:
    """What estimators of a kind will find, one gradient a step."""
    bind, found = estimator.bind, list[torch.Tensor]()

    def keeping(self: Any, context: Context) -> Any:
        estimate = bind(self, context)

        def keep(oracle: GradientOracle, images: torch.Tensor) -> torch.Tensor:
            found.append(estimate(oracle, images))
            return found[-1]

        return keep

    monkeypatch.setattr(estimator, "bind", keeping)
    return found
