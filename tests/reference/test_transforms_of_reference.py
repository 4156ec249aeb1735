"""BSR, SIA, SSA, DeCoWA, DEM and OPS: copies and gradients of public code, computed again from the same choices."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from choices import normal, uniform
from later_attacks import clean, drawn, labels, numbers, oracle, relative_error, sparse, surrogate
from torch.nn import functional

from linbp.attack.parts.estimator import decowa
from linbp.attack.parts.transform import bsr, ops, sia
from linbp.attack.parts.transform.cosine import cosine_transform, inverse_cosine_transform
from linbp.attack.parts.transform.diverse_inputs import padded
from linbp.attack.parts.transform.ssa import shaken
from linbp.attack.parts.transform.turning import turned

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
    assert relative_error(sparse(copies()), stored["bsr_image"]) < TOLERANCE
    inside = np.isclose(sparse(ours), sparse(copies()))
    assert 0.8 < inside.mean() < 1  # only borders differ


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
    assert relative_error(sparse(torch.stack(rows)), stored[f"{name}_image"]) < TOLERANCE


@pytest.mark.parametrize("operation", ["resize", "dct"])
def test_sia_on_the_whole_picture(operation: Any) -> None:
    found = torch.stack([sia.change_block(image, sia.Way(operation=operation)) for image in clean()])
    assert relative_error(sparse(found), numbers(FILE)[f"sia_whole_{operation}"]) < TOLERANCE


def test_ssa() -> None:
    stored = numbers(FILE)
    noise = drawn(FILE, normal, 0)[:, 0] * 16 / 255
    mask = 0.5 + drawn(FILE, uniform, 1, 0.0, 1.0)[:, 0]
    copies = torch.stack([shaken(*rows) for rows in zip(clean(), noise, mask, strict=True)])
    assert relative_error(sparse(copies), stored["ssa_image"]) < TOLERANCE
    at_copies = surrogate("resnet18").gradient(copies, labels(FILE))
    assert relative_error(sparse(at_copies), stored["ssa_grad"]) < TOLERANCE
    through = torch.stack(
        [inverse_cosine_transform(m * cosine_transform(g)) for g, m in zip(at_copies, mask, strict=True)]
    )
    assert relative_error(sparse(through), stored["ssa_grad_through"]) < TOLERANCE


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
    start, moved = (torch.from_numpy(stored[f"decowa_{name}"]) for name in ("start", "moved"))
    assert (
        relative_error(sparse(decowa.warped(clean(), torch.zeros(2, 2).double())), stored["decowa_still"]) < TOLERANCE
    )
    assert relative_error(sparse(decowa.warped(clean(), moved)), stored["decowa_image"]) < TOLERANCE
    one = decowa.DeformationWarp(warps=1)
    asked = oracle(FILE, clean())
    at_shifts = one._pulled_back(asked, clean(), start, "", to_shifts=True)
    assert (start - one.step * at_shifts - moved).abs().max() < 1e-9
    assert relative_error(sparse(one._pulled_back(asked, clean(), moved, "", False)), stored["decowa_grad"]) < TOLERANCE


def test_a_still_warp_is_the_identity() -> None:
    assert (decowa.warped(clean(), torch.zeros(2, 2).double()) - clean()).abs().max() < 1e-9


def test_dem() -> None:
    """The gradient of the cross-entropy of the five mean logits, through the loop's way of taking it."""
    stored, net, rows = numbers(FILE), surrogate("resnet18"), []
    largest = [int(64 * rate) for rate in (1.14, 1.27, 1.4, 1.53, 1.66)]
    for image in range(2):
        leaf = clean()[image : image + 1].clone().requires_grad_()
        logits = [
            net.run(padded(leaf, (side, side), (top, left), (most, most), "bilinear"))
            for most, (side, top, left) in zip(largest, stored["dem_choices"][image].tolist(), strict=True)
        ]
        loss = functional.cross_entropy(torch.stack(logits).mean(0), labels(FILE)[image : image + 1])
        rows.append(torch.autograd.grad(loss, leaf)[0][0])
    assert relative_error(sparse(torch.stack(rows)), stored["dem_grad"]) < TOLERANCE


@pytest.mark.parametrize("degrees", [15, -45])
def test_ops_turns(degrees: int) -> None:
    found = torch.stack([turned(image, degrees, "nearest") for image in clean()])
    assert relative_error(sparse(found), numbers(FILE)[f"ops_rotate{degrees}"]) < TOLERANCE


def test_ops_enlarges() -> None:
    stored = numbers(FILE)
    found = [
        padded(clean()[image : image + 1], (side, side), (top, left), (int(64 * 2.1),) * 2, "bilinear")
        for image, (side, top, left) in enumerate(stored["ops_dim2.1_choices"].tolist())
    ]
    assert relative_error(sparse(torch.cat(found)), stored["ops_dim2.1"]) < TOLERANCE
    assert len(ops.OPERATIONS) == 31
