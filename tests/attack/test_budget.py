"""The PNG that is read back obeys its budget, whatever the budget, the image and the iterates."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_recipes import ROWS, craft
from tiny_networks import SIZE, images_and_labels, tiny

import linbp
from linbp.attack import Budget, Recipe, parse_radius
from linbp.attack.budget import check_budget
from linbp.data.images import read_image, write_png
from linbp.errors import BudgetError
from linbp.randomness import Draws

pixels = arrays(np.uint8, (2, 3, 5, 4), elements=st.one_of(st.sampled_from([0, 255]), st.integers(0, 255)))
steps = arrays(np.float64, (3, 2, 3, 5, 4), elements=st.floats(-1, 1))


def walk(budget: Budget, moves: np.ndarray) -> torch.Tensor:
    """Project after every move, as the loop does."""
    images = budget.clean
    for move in moves:
        images = budget.project(images + torch.from_numpy(move).to(images))
    return budget.finish(images)


@given(
    pixels,
    steps,
    st.one_of(st.floats(1 / 255, 1), st.integers(1, 255).map(lambda level: level / 255), st.just(0.03)),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_l_inf_adversarial_images_stay_within_whole_levels(
    clean: np.ndarray, moves: np.ndarray, eps: float, dtype: torch.dtype
) -> None:
    budget = Budget(torch.from_numpy(clean).to(dtype) / 255, [eps, eps], norm="linf", rounding="inward")
    levels = (walk(budget, moves) * 255).round().to(torch.int64).numpy()
    assert levels.min() >= 0
    assert levels.max() <= 255
    assert np.abs(levels - clean.astype(np.int64)).max() <= math.floor(255 * eps)


@given(pixels, steps, st.floats(1 / 255, 2), st.sampled_from([torch.float32, torch.float64]))
def test_l2_adversarial_images_stay_in_the_ball(
    clean: np.ndarray, moves: np.ndarray, eps: float, dtype: torch.dtype
) -> None:
    budget = Budget(torch.from_numpy(clean).to(dtype) / 255, [eps, eps], norm="l2", rounding="inward")
    levels = (walk(budget, moves) * 255).round().to(torch.int64).numpy()
    assert levels.min() >= 0
    assert levels.max() <= 255
    for adv_image, original in zip(levels, clean.astype(np.int64), strict=True):
        assert int(((adv_image - original) ** 2).sum()) <= (255 * eps) ** 2


photographs = arrays(np.uint8, (2, 3, SIZE, SIZE), elements=st.one_of(st.sampled_from([0, 255]), st.integers(0, 255)))


@settings(max_examples=60)
@given(
    eps=st.one_of(st.floats(1 / 255, 1), st.integers(1, 255).map(lambda level: level / 255)),
    share=st.floats(0.05, 1),
    recipe=st.sampled_from(ROWS),
    norm=st.sampled_from(["linf", "l2"]),
    clean=photographs,
    seed=st.integers(0, 1000),
)
def test_a_png_read_back_is_in_the_budget(
    tmp_path_factory: pytest.TempPathFactory,
    eps: float,
    share: float,
    recipe: str,
    norm: str,
    clean: np.ndarray,
    seed: int,
) -> None:
    eps = eps if norm == "linf" else eps * 10
    sizes = {} if Recipe.parse(recipe).single_step else {"step_size": share * eps}
    adv = craft(SURROGATE, recipe, [0, 1], torch.from_numpy(clean), eps=eps, norm=norm, seed=seed, **sizes)
    folder: Path = tmp_path_factory.mktemp("png")
    for index, adv_image in enumerate(adv):
        write_png(folder / f"{index}.png", (adv_image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())
        read = read_image(folder / f"{index}.png").astype(np.int64).transpose(2, 0, 1)
        change = read - clean[index].astype(np.int64)
        if norm == "linf":
            assert np.abs(change).max() <= math.floor(255 * eps)
        else:
            assert (change**2).sum() <= (255 * eps) ** 2


SURROGATE = linbp.Surrogate(tiny(), cache=False)


def test_nearest_reproduces_the_released_rounding_and_leaves_the_budget() -> None:
    clean = torch.full((1, 3, 2, 2), 100 / 255, dtype=torch.float64)
    for rounding, expected in (("inward", 107), ("nearest", 108)):
        budget = Budget(clean, [0.03], norm="linf", rounding=rounding)  # 7.65 levels
        images = clean
        for _ in range(20):
            images = budget.project(images + 1 / 255)
        assert (budget.finish(images) * 255).round().eq(expected).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_truncation_cuts_fractions_of_a_level_off_and_keeps_whole_levels(dtype: torch.dtype) -> None:
    whole = torch.arange(256, dtype=dtype).view(1, 1, 16, 16).repeat(1, 3, 1, 1)
    budget = Budget(whole / 255, [16 / 255], norm="linf", rounding="truncate")
    assert (budget.finish(whole / 255) * 255).round().equal(whole)
    # Ten steps of 1.6 levels, with the float noise of real ones: -16, -12.8, ..., 16.
    for ups in range(11):
        images = budget.clean
        for step in range(10):
            images = budget.project(images + (1 if step < ups else -1) * 1.6 / 255)
        found = (budget.finish(images) * 255).round()
        inside = (whole >= 16) & (whole <= 239)
        change = [-16, -13, -10, -7, -4, 0, 3, 6, 9, 12, 16][ups]  # rounded down, as integers in Python are
        assert (found - whole)[inside].unique().tolist() == [change]


def test_truncation_agrees_with_the_released_code_but_for_whole_levels() -> None:
    draw = np.random.default_rng(0)
    clean = draw.integers(0, 256, (4, 3, 16, 16), dtype=np.uint8)
    unit = torch.from_numpy(clean).float() / 255
    budget = Budget(unit, [16 / 255] * 4, norm="linf", rounding="truncate")
    images = budget.project(unit + torch.from_numpy(draw.uniform(-0.07, 0.07, clean.shape)).float())
    released = (images.numpy() * 255).astype(np.uint8)  # what it writes to a PNG
    ours = (budget.finish(images) * 255).round().to(torch.uint8).numpy()
    levels = images.double().numpy() * 255
    near = np.abs(levels - np.rint(levels)) < 2e-3
    assert (~near).mean() > 0.5
    assert np.array_equal(ours[~near], released[~near])
    assert np.abs(ours.astype(int) - released).max() <= 1


def test_truncation_leaves_the_budget_downward_only() -> None:
    clean = torch.full((1, 3, 2, 2), 100 / 255, dtype=torch.float64)
    for direction, expected in ((1, 107), (-1, 92)):
        budget = Budget(clean, [0.03], norm="linf", rounding="truncate")  # 7.65 levels
        images = clean
        for _ in range(20):
            images = budget.project(images + direction / 255)
        assert (budget.finish(images) * 255).round().eq(expected).all()


def test_l2_rounding_takes_back_as_little_as_it_must() -> None:
    clean = torch.full((1, 3, 8, 8), 0.5019607843137255, dtype=torch.float64)
    eps = 12.0 / 255
    budget = Budget(clean, [eps], norm="l2", rounding="inward")
    wanted = budget.project(clean + 1.0)  # every value wants 12 / sqrt(192) = 0.87 levels, which rounds to 1
    change = (budget.finish(wanted) * 255).round() - 128
    assert int((change**2).sum()) == 144  # truncation would have left nothing


def test_each_image_has_its_own_radius() -> None:
    images, labels = images_and_labels(3)
    adv = linbp.craft(SURROGATE, images, labels, "ifgsm", eps=[2 / 255, 4 / 255, 6 / 255], steps=10)
    largest = (adv * 255 - images).abs().flatten(1).amax(1)
    assert largest.tolist() == [2, 4, 6]
    assert torch.equal(linbp.craft(SURROGATE, images[1:2], labels[1:2], "ifgsm", eps=4 / 255, steps=10), adv[1:2])


def test_samples_fill_the_ball_and_stay_in_it() -> None:
    clean = torch.full((400, 1, 2, 1), 0.5, dtype=torch.float64)
    for norm in ("linf", "l2"):
        budget = Budget((clean * 255).round() / 255, [0.1] * 400, norm=norm, rounding="nearest")
        points = budget.sample(Draws(0, [str(i) for i in range(400)], 0), "test", 1.0).flatten(1)
        lengths = points.abs().amax(1) if norm == "linf" else points.norm(dim=1)
        assert lengths.max() <= 0.1
        # uniform in two dimensions: a quarter of the points lies within half the radius (400 draws: +- 0.09 is 4 sigma)
        assert abs((lengths < 0.05).double().mean().item() - 0.25) < 0.09
        assert points.mean(0).abs().max() < 0.02


@pytest.mark.parametrize("text", ["-8/255", "0", "nan", "inf", "8/0", "eight", "", "1e999", "1/2/3", None, "-0.1", [1]])
def test_radii_that_are_none(text: object) -> None:
    with pytest.raises(BudgetError) as caught:
        parse_radius(text)
    assert caught.value.hint


def test_radii_as_people_write_them() -> None:
    assert parse_radius("8/255") == 8 / 255
    assert parse_radius("1.6/255") == 1.6 / 255
    assert parse_radius(" 0.03 ") == 0.03
    assert parse_radius(0.5) == 0.5


def test_radii_that_no_image_can_obey() -> None:
    with pytest.raises(BudgetError, match="8/255"):
        check_budget([8.0], "linf", "inward")
    with pytest.raises(BudgetError, match="one level"):
        check_budget([0.003], "linf", "inward")
    with pytest.raises(BudgetError, match="linf or l2"):
        check_budget([0.03], "l1", "inward")  # type: ignore[arg-type]


def test_half_a_level_is_the_least_that_nearest_can_use() -> None:
    clean = torch.full((1, 3, 2, 2), 100 / 255, dtype=torch.float64)
    check_budget([0.51 / 255], "linf", "nearest")
    budget = Budget(clean, [0.51 / 255], norm="linf", rounding="nearest")
    far = budget.finish(budget.project(clean + 1))
    assert torch.equal((far * 255).round(), torch.full_like(clean, 101))
    with pytest.raises(BudgetError, match="half a level"):
        check_budget([0.49 / 255], "linf", "nearest")
