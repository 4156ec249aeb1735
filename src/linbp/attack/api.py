"""From clean images to adversarial images, batch by batch."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from linbp.attack.budget import Budget, Norm, Rounding, parse_radius, radii
from linbp.attack.ensemble import Ensemble
from linbp.attack.goal import Goal
from linbp.attack.loop import run
from linbp.attack.pool import Pool
from linbp.attack.prepare import Prepared, prepare
from linbp.attack.recipe.recipe import Recipe
from linbp.errors import BudgetError, ImageError, RecipeError
from linbp.graph import Surrogate
from linbp.models.model import Model
from linbp.registry import grammar_name

__all__ = ["check_channels", "check_classes", "check_pool", "craft", "default_step_size"]

Images = TypeVar("Images", torch.Tensor, np.ndarray[Any, Any])
IMAGE_RANK = 4
GRID_TOLERANCE = 1e-2
"""Levels by which float images may miss the 8-bit grid (half-precision inputs do)."""


def default_step_size(norm: Norm, eps: Sequence[float], steps: int) -> list[float]:
    """1/255 in L-inf, as in the LinBP paper; 2.5 eps / steps in L2, as in Madry et al.'s released code."""
    return [1 / 255 if norm == "linf" else 2.5 * value / steps for value in eps]


def check_pool(recipe: Recipe, given: bool) -> None:
    """Refuse a recipe that needs a pool where none is given, and a pool where the recipe makes no use of one.

    Raises:
        RecipeError: it is so.
    """
    needed = [part for stage in recipe.stages for part in stage.transforms if part.needs_pool]
    if needed and not given:
        raise RecipeError(
            f"{grammar_name(needed[0])} mixes in images of a pool, and there is none.",
            "Give one: --pool FOLDER_OR_CSV (pool=linbp.Pool(images) in Python); it may be the images under attack.",
        )
    if given and not needed:
        raise RecipeError(f"{recipe} makes no use of a pool.", "Leave the pool out.")


def craft(
    model: Model | Surrogate | Ensemble | Prepared,
    images: Images,
    labels: Any,
    recipe: Recipe | str,
    *,
    eps: Any,
    steps: int | None = None,
    step_size: Any = None,
    norm: Norm = "linf",
    seed: int = 0,
    targets: Any = None,
    ids: Sequence[str] | None = None,
    pool: Pool | None = None,
    rounding: Rounding = "inward",
    batch_size: int = 16,
    device: str | torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Images:
    """Make adversarial images of images on a surrogate.

    Args:
        model: the surrogate, as a model or already captured; or an ensemble of several.
        images: (N, C, H, W), uint8, or floats in [0, 1] on the 8-bit grid (k / 255); a tensor or a numpy array.
        labels: (N,) classes, counted from 0.
        recipe: a recipe or its text.
        eps: radius on the scale of [0, 1] (`8/255` as text or a number), one or one for each image.
        steps: number of steps; by default 50, or 1 for a recipe of a single step.
        step_size: on the scale of [0, 1]; by default 1/255, and 2.5 eps / steps in L2. A recipe of a single step takes
            the whole radius.
        norm: `linf` or `l2`.
        seed: of all randomness, together with the images' ids.
        targets: (N,) classes that the adversarial images should get, for a targeted attack.
        ids: names of the images, which their randomness is keyed by; by default their index.
        pool: images that `admix` mixes in.
        rounding: `inward` keeps 8-bit values inside the budget; `nearest` is the paper's released protocol and leaves
            it by up to half a level; `truncate` is TransferAttack's and leaves it by up to a level, downward.
        batch_size: images at a time; the result does not depend on it.
        device: where to compute; by default where the model lies.
        progress: called with (image steps done, image steps in all).

    Returns:
        The adversarial images, on the 8-bit grid in [0, 1]: the images' shape and kind of array, the network's dtype.

    Raises:
        ImageError, BudgetError, RecipeError, RuleError, CaptureError, ModelError: with what to do about it.
    """
    recipe = Recipe.parse(recipe) if isinstance(recipe, str) else recipe
    steps = recipe.check_steps(steps)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise RecipeError(f"batch_size is {batch_size!r}.", "Give a whole number of at least 1.")
    if recipe.single_step and step_size is not None:
        raise RecipeError(f"{recipe} takes one step of the whole radius.", "Leave step_size out.")
    if step_size is None:
        check_default_step(recipe, norm, steps)
    seed = whole_seed(seed)
    recipe.check_targets(targets is not None)
    check_pool(recipe, pool is not None)
    prepared = prepare(model, recipe, device)
    given = torch.as_tensor(np.ascontiguousarray(images) if isinstance(images, np.ndarray) else images)
    count = _check_images(given)
    check_channels(prepared, given.shape[1])
    classes = check_classes(labels, count, prepared.classes, "label")
    goals = None if targets is None else check_classes(targets, count, prepared.classes, "target")
    names = _check_ids(ids, count)
    radius = radii(eps, count)
    sizes = _sizes(step_size, norm, radius, steps)
    total, done = sum(stage.own_steps(steps) for stage in recipe.stages) * count, 0

    def advance(members: int) -> None:
        nonlocal done
        done += members
        if progress is not None:
            progress(done, total)

    adv: list[torch.Tensor] = []
    for begin in range(0, count, batch_size):
        rows = slice(begin, begin + batch_size)
        clean = _on_grid(given[rows], prepared, names[rows])
        budget = Budget(clean, radius[rows], norm=norm, rounding=rounding)
        goal = Goal(
            labels=classes[rows].to(prepared.device),
            targets=None if goals is None else goals[rows].to(prepared.device),
        )
        found = run(
            prepared.stages,
            goal,
            budget,
            steps=steps,
            step_size=_column(sizes[rows], clean),
            full_step=_column(radius[rows], clean),
            seed=seed,
            ids=names[rows],
            pool=pool,
            on_step=partial(advance, len(clean)),
        )
        adv.append(found.cpu() if given.device.type == "cpu" else found.to(given.device))
    whole = torch.cat(adv) if adv else given.to(prepared.dtype)
    return whole.numpy() if isinstance(images, np.ndarray) else whole


def _sizes(step_size: Any, norm: Norm, radius: list[float], steps: int) -> list[float]:
    if step_size is None:
        return default_step_size(norm, radius, steps)
    size = parse_radius(step_size, "step_size")
    if norm == "linf" and size > 1:
        raise BudgetError(f"step_size is {size:g}, more than the whole range of an image.", "Did you mean 1/255?")
    return [size] * len(radius)


def check_default_step(recipe: Recipe, norm: Norm, steps: int) -> None:
    """Refuse the default step of L2, which is made for all steps, where a stage has its own number of them.

    Raises:
        RecipeError: a stage has.
    """
    taken = {stage.own_steps(steps) for stage in recipe.stages if not stage.update.single_step}
    if norm == "l2" and taken - {steps}:
        raise RecipeError(
            f"{recipe} has a stage of {min(taken - {steps})} steps, and the default L2 step is made for {steps}.",
            "Give the step size: --step-size (step_size in Python).",
        )


def whole_seed(seed: Any) -> int:
    """The seed as a whole number.

    Raises:
        RecipeError: it is none.
    """
    try:
        return operator.index(seed)
    except TypeError:
        raise RecipeError(f"seed is {seed!r}.", "Give a whole number.") from None


def _column(numbers: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    """One number an image, shape (N, 1, 1, 1)."""
    return torch.tensor(numbers, dtype=torch.float64).to(like).view(-1, 1, 1, 1)


def _check_images(images: torch.Tensor) -> int:
    if images.ndim != IMAGE_RANK:
        raise ImageError(
            f"Images have shape {tuple(images.shape)}.", "Give a batch of shape (images, channels, height, width)."
        )
    if not (images.dtype == torch.uint8 or images.is_floating_point()):
        raise ImageError(f"Images are {images.dtype}.", "Give uint8, or floats in [0, 1].")
    return len(images)


def check_channels(prepared: Prepared, channels: int) -> None:
    """Refuse images of another number of channels than a surrogate's.

    Raises:
        ImageError: they are.
    """
    for surrogate in prepared.surrogates:
        wanted = surrogate.model.input_size[0]
        if channels != wanted:
            raise ImageError(
                f"The images have {channels} channels, and {surrogate.model.name} takes {wanted}.",
                "Wrap the network so that it takes RGB, (N, 3, H, W)."
                if channels == 3
                else f"Give images of shape (N, {wanted}, H, W).",
            )


def check_classes(classes: Any, count: int, number: int, what: str) -> torch.Tensor:
    """Labels or targets as a tensor (N,) on the CPU.

    Args:
        classes: as given.
        count: how many there must be.
        number: of the network's classes.
        what: `label` or `target`, for messages.

    Raises:
        ImageError: another number of them, or one that is no class.
    """
    given = torch.as_tensor(classes).cpu()
    if given.shape != (count,) or given.is_floating_point():
        raise ImageError(
            f"{what}s have shape {tuple(given.shape)} and dtype {given.dtype} for {count} images.",
            f"Give one whole number for each image as its {what}.",
        )
    given = given.to(torch.int64)
    wrong = ((given < 0) | (given >= number)).nonzero().flatten().tolist()
    if wrong:
        raise ImageError(
            f"The {what} of image {wrong[0]} is {int(given[wrong[0]])}; the network's classes are 0 to {number - 1}.",
            "Labels count from 0: if yours count from 1, subtract 1.",
        )
    return given


def _check_ids(ids: Sequence[str] | None, count: int) -> list[str]:
    names = [str(index) for index in range(count)] if ids is None else [str(name) for name in ids]
    if len(names) != count or len(set(names)) != count:
        raise ImageError(
            f"{len(names)} ids, {len(set(names))} of them different, for {count} images.",
            "Give one id of its own for each image.",
        )
    return names


def _on_grid(images: torch.Tensor, prepared: Prepared, ids: Sequence[str]) -> torch.Tensor:
    """The images as k / 255 in the network's dtype, on its device."""
    moved = images.to(prepared.device)
    levels = moved.to(torch.float64) if moved.dtype == torch.uint8 else moved.to(torch.float64) * 255
    whole = levels.round()
    outside = ~torch.isfinite(levels) | (levels < -GRID_TOLERANCE) | (levels > 255 + GRID_TOLERANCE)
    off = (levels - whole).abs() > GRID_TOLERANCE
    for wrong, what in ((outside, "is outside [0, 1]"), (off, "is not on the 8-bit grid (k / 255)")):
        rows = wrong.flatten(1).any(1).nonzero().flatten().tolist()
        if rows:
            raise ImageError(
                f"Image {ids[rows[0]]} {what}.",
                "Give uint8 images, or floats that are whole levels: (images * 255).round() / 255.",
            )
    # Channels last or first, the adversarial images are the same: what a network computes depends on it in the last
    # bit. (Not `contiguous`, which leaves images of one channel as they are.)
    return (whole.to(prepared.dtype) / 255).clone(memory_format=torch.contiguous_format)
