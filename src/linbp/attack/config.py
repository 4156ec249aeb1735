"""The settings of an attack: each checked once, with every default filled in."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch

from linbp.attack.budget import Norm, Rounding, check_budget, parse_radius
from linbp.attack.protocol import Protocol
from linbp.attack.published_protocols import find_protocol
from linbp.attack.recipe.recipe import Recipe, as_recipe
from linbp.attack.step_size import (
    auto_step_size,
    parse_step_size,
    radius_notes,
    refuse_vanishing_steps,
)
from linbp.attack.targets import TargetRule
from linbp.errors import BudgetError, ImageError, RecipeError
from linbp.graph.kernels.groups import check_group_size
from linbp.validation import plain_whole

__all__ = ["AttackConfig", "Labels"]

Labels = Literal["given", "predicted"]
"""Where labels come from: the list, or the surrogate's own predictions of the clean images."""

DEFAULT_EPS = "8/255"


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """The resolved settings of an attack.

    `resolve` makes it and checks everything; code that receives one does not check it again.

    Attributes:
        recipe: the attack.
        eps: radii on the scale of [0, 1], one for all images or one for each.
        steps: what the attack is asked for; a stage may have its own number.
        step_sizes: of each stage, on the scale of [0, 1], one for all images or one for each. A single step takes the
            whole radius.
        norm: of the ball.
        seed: of all randomness.
        rounding: to the 8-bit grid.
        labels: where the labels come from.
        targeted: whether the attack has targets.
        target_rule: which chooses the targets of a targeted attack; None where they are given.
        protocol: the published protocol that these settings follow, or None.
        batch_size: images at a time; it changes no image, but for rounding in float32 on a GPU.
        group_size: of these, how many the surrogates compute at a time in float32 on a CPU (`Surrogate`); None: as
            they come. It changes the last bits, so the surrogate's facts in the manifest have it.
        compiled: whether the surrogates' passes are compiled (`Surrogate`), of which the same holds.
    """

    recipe: Recipe
    eps: tuple[float, ...]
    steps: int
    step_sizes: tuple[tuple[float, ...], ...]
    norm: Norm
    seed: int
    rounding: Rounding
    labels: Labels
    targeted: bool
    target_rule: TargetRule | None
    protocol: Protocol | None
    batch_size: int
    group_size: int | None = None
    compiled: bool = False

    @classmethod
    def resolve(
        cls,
        recipe: Recipe | str,
        *,
        eps: Any = None,
        steps: int | None = None,
        step_size: Any = None,
        norm: Norm | None = None,
        seed: int = 0,
        rounding: Rounding | None = None,
        labels: Labels = "given",
        targets: bool = False,
        target_rule: TargetRule | str | None = None,
        pool: bool = False,
        protocol: Protocol | str | None = None,
        batch_size: int = 8,
        group_size: int | None = None,
        compiled: bool = False,
        images: int | None = None,
    ) -> AttackConfig:
        """The settings of an attack, from what a user gives; what is None is the protocol's, or the default.

        A recipe of a single step takes neither the steps nor the step size of a protocol.

        Args:
            recipe: or its text.
            eps: one radius, or one for each image where `images` says how many there are; by default 8/255 in L-inf.
            steps: by default 50, or 1 for a recipe of a single step.
            step_size: of every stage of several steps; by default, and as `auto`, the one with which a stage reaches
                the radius (`auto_step_size`): 1/255, or eps / steps where that is more; 2.5 eps / steps in L2.
            norm: by default `linf`.
            seed: any whole number.
            rounding: by default `inward`.
            labels: `given` or `predicted`.
            targets: whether a target is given for every image.
            target_rule: chooses the targets where they are not given.
            pool: whether a pool is given.
            protocol: or its name; its values hold, and a value that is given as well must be the protocol's.
            batch_size: at least 1.
            group_size: 1, 4, 8, 16 or 32.
            compiled: whether the surrogates are compiled.
            images: how many there are, where each may have its own radius.

        Raises:
            BudgetError: a radius or step that no image can obey, or an L2 attack without a radius.
            ImageError: `labels` is neither `given` nor `predicted`.
            RecipeError: a setting contradicts the protocol or the recipe, or is out of range.
        """
        recipe = as_recipe(recipe)
        rule = TargetRule.parse(target_rule) if isinstance(target_rule, str) else target_rule
        protocol = find_protocol(protocol) if isinstance(protocol, str) else protocol
        if targets and rule is not None:
            raise RecipeError(
                f"Targets come both from the list and from the rule {rule}.", "Give --targets or --target-rule."
            )
        recipe.check_targets(targets or rule is not None)
        recipe.check_pool(pool)
        if labels not in get_args(Labels):
            raise ImageError(f"Labels cannot be {labels!r}.", "Use given or predicted.")
        steps, batch_size = plain_whole(steps), plain_whole(batch_size)
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise RecipeError(f"batch_size is {batch_size!r}.", "Give a whole number of at least 1.")
        if group_size is not None:
            group_size = check_group_size(group_size)
        radii = None if eps is None else _radii(eps, images)
        size = None if step_size is None else parse_step_size(step_size, recipe)
        if protocol is not None:
            radii = (protocol.resolve_number("eps", None if radii is None else radii[0], protocol.eps),)
            norm = protocol.resolve("norm", norm, (protocol.norm,))
            rounding = protocol.resolve("rounding", rounding, (protocol.rounding,))
            protocol.check_targets(None if rule is None else str(rule), targets)
            if not recipe.single_step:
                steps = protocol.resolve("steps", steps, protocol.steps)
                if size is None and step_size is not None:
                    (size,) = auto_step_size(radii, steps, norm, rounding)
                size = protocol.resolve_number("step-size", size, (protocol.step_size,))
        steps, norm, rounding = recipe.check_steps(steps), norm or "linf", rounding or "inward"
        if radii is None:
            radii = (parse_radius(_default_eps(norm)),)
        check_budget(radii, norm, rounding)
        if size is not None and norm == "linf" and size > 1:
            raise BudgetError(f"step_size is {size:g}, more than the whole range of an image.", "Did you mean 1/255?")
        sizes = _step_sizes(recipe, steps, size, radii, norm, rounding)
        last = recipe.stages[-1]
        refuse_vanishing_steps(last, last.own_steps(steps), radii, sizes[-1], rounding)
        return cls(
            recipe=recipe,
            eps=radii,
            steps=steps,
            step_sizes=sizes,
            norm=norm,
            seed=_whole_seed(seed),
            rounding=rounding,
            labels=labels,
            targeted=targets or rule is not None,
            target_rule=rule,
            protocol=protocol,
            batch_size=batch_size,
            group_size=group_size,
            compiled=compiled,
        )

    def of(self, rows: slice) -> AttackConfig:
        """The settings of some of the images."""
        eps, *sizes = (values if len(values) == 1 else values[rows] for values in (self.eps, *self.step_sizes))
        return dataclasses.replace(self, eps=eps, step_sizes=tuple(sizes))

    def shortened(self, most: int) -> AttackConfig:
        """The same attack with at most so many steps; the default L2 step, made for all steps, is made for these."""
        steps, sizes = min(self.steps, most), self.step_sizes
        settings = (None, self.eps, self.norm, self.rounding)
        if self.norm == "l2" and sizes == _step_sizes(self.recipe, self.steps, *settings):
            sizes = _step_sizes(self.recipe, steps, *settings)
        return dataclasses.replace(self, steps=steps, step_sizes=sizes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the manifest of a job, whose images have one radius.

        The step size is one number, or one for each stage where stages of several steps differ.
        """
        (eps,), sizes = self.eps, [size for (size,) in self.step_sizes]
        several = [size for size, stage in zip(sizes, self.recipe.stages, strict=True) if not stage.update.single_step]
        return {
            "recipe": str(self.recipe),
            "eps": eps,
            "steps": self.steps,
            "step_size": sizes if len(set(several)) > 1 else (several or sizes)[0],
            "norm": self.norm,
            "seed": self.seed,
            "rounding": self.rounding,
            "labels": self.labels,
            "targeted": self.targeted,
            "target_rule": None if self.target_rule is None else str(self.target_rule),
            "protocol": None if self.protocol is None else self.protocol.name,
        }

    @property
    def notes(self) -> list[str]:
        """What a user should know of radius and steps: a radius that nothing reaches, or that is another's."""
        last = self.recipe.stages[-1]
        return radius_notes(last, last.own_steps(self.steps), self.eps, self.step_sizes[-1], self.norm, self.rounding)


def _step_sizes(
    recipe: Recipe, steps: int, size: float | None, eps: tuple[float, ...], norm: Norm, rounding: Rounding
) -> tuple[tuple[float, ...], ...]:
    """The step of each stage: the given size, or `auto`; a single step takes the whole radius."""
    return tuple(
        eps
        if stage.update.single_step
        else auto_step_size(eps, stage.own_steps(steps), norm, rounding)
        if size is None
        else (size,)
        for stage in recipe.stages
    )


def _default_eps(norm: Norm) -> str:
    if norm == "l2":
        raise BudgetError(
            "An L2 radius has no default: it is the length of the whole change.",
            "Give --eps, such as 3 for photographs of 224 x 224 pixels in [0, 1].",
        )
    return DEFAULT_EPS


def _radii(eps: Any, images: int | None) -> tuple[float, ...]:
    """One radius, or one for each of so many images.

    Raises:
        BudgetError: a radius is not positive, or their number is not that of the images.
    """
    if isinstance(eps, np.ndarray | torch.Tensor):
        eps = list(eps) if eps.ndim else eps[()]  # with their dtype, which says how exact they are
    if images is None or isinstance(eps, str) or not isinstance(eps, Sequence):
        return (parse_radius(eps),)
    if len(eps) != images:
        raise BudgetError(f"{len(eps)} radii for {images} images.", "Give one eps, or one for each image.")
    return tuple(parse_radius(value) for value in eps)


def _whole_seed(seed: Any) -> int:
    try:
        return operator.index(seed)
    except TypeError:
        raise RecipeError(f"seed is {seed!r}.", "Give a whole number.") from None
