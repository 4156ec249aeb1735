"""BSR, SIA, SSA, DeCoWA, DEM and OPS: copies and gradients of public code, computed again from the same choices."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from choices import normal, uniform
from later_attacks import clean, context, drawn, moved, numbers, oracle, recorded, relative_error
from torch.nn import functional

from linbp.attack import Plain, Recipe
from linbp.attack.parts.estimator import decowa
from linbp.attack.parts.transform import bsr, ops, sia
from linbp.attack.parts.transform.diverse_inputs import padded
from linbp.attack.parts.transform.turning import turned
from linbp.randomness import Draws

FILE, TOLERANCE = "resnet18_transforms", 1e-6


def test_bsr(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's border weights are squared: its code multiplies by the turned mask once more."""
    stored, once = numbers(FILE), bsr.turned

    def squared(image: torch.Tensor, degrees: float) -> torch.Tensor:
        return once(image, degrees) * once(torch.ones_like(image), degrees)

    def copies() -> torch.Tensor:
        rows = []
        for image in range(2):
            axes, lengths, order, angles = (
                stored[f"bsr_{name}"][image] for name in ("dims", "lengths", "perms", "angles")
            )
            cuts = bsr.Cuts(
                cast("tuple[int, int]", tuple(int(axis) - 1 for axis in axes)),
                tuple(tuple(row) for row in lengths.tolist()),
                tuple(tuple(row) for row in order.tolist()),
                tuple(angles.tolist()),
            )
            rows.append(bsr.shuffled(clean()[image], cuts))
        return torch.stack(rows)

    ours = copies()
    monkeypatch.setattr(bsr, "turned", squared)
    assert relative_error(copies(), stored["bsr_image"]) < TOLERANCE
    inside = torch.isclose(ours, copies())
    assert 0.8 < inside.double().mean() < 1  # only borders differ


def swapped(block: torch.Tensor) -> torch.Tensor:
    """The authors' `resize`: the height that it goes through is made of the width, and the width of the height."""
    height, width = block.shape[1:]
    through = (int(0.8 * width) + 1, int(0.8 * height) + 1)
    small = functional.interpolate(block[None], size=through, mode="bilinear", align_corners=False)
    return functional.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)[0].clamp(0, 1)


@pytest.mark.parametrize("name", ["sia", "sia_ta"])
def test_sia(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sia.SIMPLE, "resize", swapped)
    stored, rows = numbers(FILE), []
    for image in range(2):
        values = {
            key: stored[f"{name}_{key}"][image] for key in ("rows", "columns", "ops", "values", "noise", "channels")
        }
        down, across = values["rows"].tolist(), values["columns"].tolist()
        result = torch.empty_like(clean()[image])
        for i, j in np.ndindex(3, 3):
            place = (slice(None), slice(down[i], down[i + 1]), slice(across[j], across[j + 1]))
            way = sia.Way(
                operation=str(values["ops"][i, j]),  # type: ignore[arg-type]
                value=float(values["values"][i, j]),
                noise=torch.from_numpy(values["noise"]).double()[place],
                factors=torch.from_numpy(values["channels"][i, j]).double(),
            )
            result[place] = sia.change_block(clean()[image][place], way)
        rows.append(result)
    assert relative_error(torch.stack(rows), stored[f"{name}_image"]) < TOLERANCE


@pytest.mark.parametrize("operation", ["resize", "dct"])
def test_sia_on_the_whole_picture(operation: Any) -> None:
    found = torch.stack([sia.change_block(image, sia.Way(operation=operation)) for image in clean()])
    assert relative_error(found, numbers(FILE)[f"sia_whole_{operation}"]) < TOLERANCE


class Shaken:
    """What the file's code drew for one picture, in the generator's place."""

    def __init__(self, image: int) -> None:
        self.image = image

    def standard_normal(self, shape: Any) -> np.ndarray:
        return drawn(FILE, normal, 0)[self.image, 0].numpy()

    def uniform(self, low: float, high: float, shape: Any) -> np.ndarray:
        return low + (high - low) * drawn(FILE, uniform, 1, 0.0, 1.0)[self.image, 0].numpy()


@pytest.mark.parametrize(("through", "name"), [("false", "ssa_grad"), ("true", "ssa_grad_through")])
def test_ssa(monkeypatch: pytest.MonkeyPatch, through: str, name: str) -> None:
    """Noise of twice eps is 16/255; the gradient is the loop's."""
    monkeypatch.setattr(Draws, "generators", lambda self, purpose: [Shaken(image) for image in range(2)])
    text, found = f"ssa(copies=1, sigma=2, through={through})", recorded(monkeypatch, Plain)
    (transform,) = Recipe.parse(text).stages[-1].transforms
    copies = transform.apply(clean(), context(FILE), Draws(0, ["0", "1"], 0), 0)
    assert relative_error(copies, numbers(FILE)["ssa_image"]) < TOLERANCE
    moved(FILE, text, steps=1)
    assert relative_error(found[0], numbers(FILE)[name]) < TOLERANCE


@pytest.fixture
def _edges(monkeypatch: pytest.MonkeyPatch) -> None:
    """The public code's grid, from edge to edge where pixels' middles are meant."""

    def points(height: int, width: int) -> torch.Tensor:
        down, across = (torch.linspace(-1, 1, side, dtype=torch.float64) for side in (height, width))
        return torch.stack(torch.meshgrid(down, across, indexing="ij")[::-1], dim=-1)

    monkeypatch.setattr(decowa, "grid_points", points)


@pytest.mark.usefixtures("_edges")
def test_decowa() -> None:
    stored = numbers(FILE)
    start, after = (torch.from_numpy(stored[f"decowa_{name}"]) for name in ("start", "moved"))
    assert relative_error(decowa.warped(clean(), torch.zeros(2, 2).double()), stored["decowa_still"]) < TOLERANCE
    assert relative_error(decowa.warped(clean(), after), stored["decowa_image"]) < TOLERANCE
    one = decowa.DeformationWarp(warps=1)
    asked = oracle(FILE, clean())
    at_shifts = one._pulled_back(asked, clean(), start, "", to_shifts=True)
    assert (start - one.step * at_shifts - after).abs().max() < 1e-9
    assert relative_error(one._pulled_back(asked, clean(), after, "", False), stored["decowa_grad"]) < TOLERANCE


def test_a_still_warp_is_the_identity() -> None:
    assert (decowa.warped(clean(), torch.zeros(2, 2).double()) - clean()).abs().max() < 1e-9


class Sizes:
    """Side, top and left that the file's code drew, in the generator's place."""

    def __init__(self, choices: list[int]) -> None:
        self.choices = iter(choices)

    def integers(self, *bounds: int) -> int:
        return next(self.choices)


def test_dem(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of the cross-entropy of the five mean logits, through the loop's way of taking it."""
    choices, found = numbers(FILE)["dem_choices"], recorded(monkeypatch, Plain)

    def generators(self: Draws, purpose: str) -> list[Sizes]:
        return [Sizes(rows[int(purpose.rsplit(maxsplit=1)[-1])].tolist()) for rows in choices]

    monkeypatch.setattr(Draws, "generators", generators)
    moved(FILE, "dem(scales=[1.14, 1.27, 1.4, 1.53, 1.66], interpolation=bilinear)", steps=1)
    assert relative_error(found[0], numbers(FILE)["dem_grad"]) < TOLERANCE


@pytest.mark.parametrize("degrees", [15, -45])
def test_ops_turns(degrees: int) -> None:
    found = torch.stack([turned(image, degrees, "nearest") for image in clean()])
    assert relative_error(found, numbers(FILE)[f"ops_rotate{degrees}"]) < TOLERANCE


def test_ops_enlarges() -> None:
    stored = numbers(FILE)
    found = [
        padded(clean()[image : image + 1], (side, side), (top, left), (int(64 * 2.1),) * 2, "bilinear")
        for image, (side, top, left) in enumerate(stored["ops_dim2.1_choices"].tolist())
    ]
    assert relative_error(torch.cat(found), stored["ops_dim2.1"]) < TOLERANCE
    assert len(ops.OPERATIONS) == 31
