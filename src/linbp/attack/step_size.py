"""How long a step is, how far all steps of a stage lead, and what a user should know of both."""

from __future__ import annotations

import math
from typing import Any

from linbp.attack.budget import LEAST_LEVELS, LEVELS, Norm, Rounding, parse_radius
from linbp.attack.recipe.recipe import Recipe
from linbp.attack.recipe.stage import Stage
from linbp.errors import BudgetError, RecipeError

__all__ = ["AUTO", "auto_step_size", "parse_step_size", "radius_notes", "refuse_vanishing_steps", "usable_radius"]

AUTO = "auto"
OPTION = "--step-size (step_size in Python)"
SLACK = 1e-9
"""Radii and distances on the scale of [0, 1] that differ by less are the same."""

Sizes = tuple[float, ...]


def parse_step_size(value: Any, recipe: Recipe) -> float | None:
    """A step's size from what a user writes; None where it is `auto`.

    Raises:
        BudgetError: not a positive finite number.
        RecipeError: a number for a recipe that takes one step of the whole radius.
    """
    if isinstance(value, str) and value.strip().lower() == AUTO:
        return None
    if recipe.single_step:
        raise RecipeError(f"{recipe} takes one step of the whole radius.", f"Leave {OPTION} out.")
    return parse_radius(value, OPTION)


def usable_radius(eps: float, norm: Norm, rounding: Rounding) -> float:
    """The radius that 8-bit images can use: with `inward` whole levels in L-inf, floor(255 eps) / 255."""
    return math.floor(LEVELS * eps) / LEVELS if norm == "linf" and rounding == "inward" else eps


def auto_step_size(eps: Sizes, steps: int, norm: Norm, rounding: Rounding) -> Sizes:
    """The step with which a stage of so many steps reaches the radius, one for all images or one for each.

        L-inf: max(1/255, r / steps)    r = eps, with the rounding `inward` floor(255 eps) / 255
        L2:    2.5 eps / steps

    1/255 is the LinBP paper's, r / steps that of public code where it is longer; L2 as in Madry et al.'s code.
    """
    if norm == "l2":
        return tuple(2.5 * value / steps for value in eps)
    radii = [usable_radius(value, norm, rounding) for value in eps]
    sizes = tuple(1 / LEVELS if radius <= steps / LEVELS + SLACK else radius / steps for radius in radii)
    return sizes[:1] if len(set(sizes)) == 1 else sizes


def refuse_vanishing_steps(stage: Stage, steps: int, eps: Sizes, sizes: Sizes, rounding: Rounding) -> None:
    """Refuse a last stage whose steps all together are taken back by the rounding to 8 bits.

    Raises:
        BudgetError: they are, for an image at least.
    """
    if stage.update.single_step or stage.start is not None or not eps:
        return
    least = min(min(radius, steps * size) for radius, size in _pairs(eps, sizes)) * LEVELS
    if least < LEAST_LEVELS[rounding] - SLACK:
        raise BudgetError(
            f"{_counted(steps)} of {min(sizes) * LEVELS:.3g}/255 lead at most {least:.3g}/255 away from a clean image, "
            "which rounding to 8-bit values takes back: no adversarial image could differ.",
            f"Take longer steps or more of them; {OPTION} auto reaches the radius.",
        )


def radius_notes(stage: Stage, steps: int, eps: Sizes, sizes: Sizes, norm: Norm, rounding: Rounding) -> list[str]:
    """What a user should know of the last stage: radii that are none, and steps that the ball cuts off.

    Args:
        stage: the last one.
        steps: that it takes.
        eps: the radii.
        sizes: of its steps.
        norm: of the ball.
        rounding: to 8-bit values.
    """
    notes = []
    usable = [usable_radius(radius, norm, rounding) for radius in eps]
    lost = [(radius, whole) for radius, whole in zip(eps, usable, strict=True) if radius - whole > SLACK]
    if lost:
        radius, whole = lost[0]
        notes.append(
            f"eps {radius:.6g} is {radius * LEVELS:.4g}/255, and 8-bit images inside it use {whole * LEVELS:.4g}/255 "
            f"of it{_share(len(lost), len(eps))}: every radius from {whole * LEVELS:.0f}/255 to below "
            f"{whole * LEVELS + 1:.0f}/255 gives the same images (rounding inward)."
        )
    if stage.update.single_step or not eps:
        return notes
    began = getattr(stage.start, "radius", None) if stage.start is not None else 0.0
    pairs = list(_pairs(tuple(usable), sizes))
    if began is not None and (
        short := [(radius, size) for radius, size in pairs if radius * began + steps * size < radius - SLACK]
    ):
        radius, size = short[0]
        where = "a clean image" if not began else "where the start puts an image"
        notes.append(
            f"{_counted(steps)} of {_shown(size, norm)} lead at most {_shown(steps * size, norm)} away from "
            f"{where}, and the radius is {_shown(radius, norm)}{_share(len(short), len(pairs))}: a larger radius "
            "changes nothing. Take more steps (--steps), or longer ones: --step-size auto reaches the radius."
        )
    if sizes != auto_step_size(eps, steps, norm, rounding) and (
        long := [(radius, size) for radius, size in pairs if size > radius + SLACK]
    ):
        radius, size = long[0]
        notes.append(
            f"A step of {_shown(size, norm)} is longer than the radius, {_shown(radius, norm)}"
            f"{_share(len(long), len(pairs))}: each step is cut off at the edge of the ball, and steps longer than "
            "twice the radius are no different from each other."
        )
    return notes


def _pairs(eps: Sizes, sizes: Sizes) -> list[tuple[float, float]]:
    """Radius and step of each image, where one of them may be for all."""
    count = max(len(eps), len(sizes))
    return list(zip(eps * (count // len(eps)), sizes * (count // len(sizes)), strict=True))


def _counted(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"


def _share(some: int, every: int) -> str:
    return "" if some == every else f" (for {some} of {every} images)"


def _shown(value: float, norm: Norm) -> str:
    """A length as users write it: in levels in L-inf, as a number in L2."""
    return f"{LEVELS * value:.4g}/255" if norm == "linf" else f"{value:.4g}"
