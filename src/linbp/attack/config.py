"""From what the user asks for, a protocol, and the defaults to the settings of a job."""

from __future__ import annotations

import math
from collections.abc import Sequence

from linbp.attack.api import check_default_step, default_step_size, whole_seed
from linbp.attack.budget import Norm, Rounding, parse_radius
from linbp.attack.ensemble import Ensemble
from linbp.attack.job.batch import AttackConfig, Labels
from linbp.attack.protocol import Protocol
from linbp.attack.recipe.recipe import Recipe
from linbp.attack.targets import TargetRule
from linbp.data.image_list import ImageRecord
from linbp.data.preprocessing import Preparation
from linbp.errors import BudgetError, ImageError, RecipeError
from linbp.graph import Surrogate
from linbp.models import Model

__all__ = ["reach_note", "resolve"]


def resolve(
    model: Model | Surrogate | Ensemble,
    images: Sequence[ImageRecord],
    recipe: Recipe,
    *,
    protocol: Protocol | None,
    eps: float | str | None,
    steps: int | None,
    step_size: float | str | None,
    norm: Norm | None,
    seed: int,
    rounding: Rounding | None,
    labels: Labels,
    target_rule: TargetRule | None,
) -> AttackConfig:
    """The settings of a job but for the pool; what is None is the protocol's, or where there is none the default.

    A recipe of a single step takes neither the steps nor the step size of a protocol.

    Raises:
        BudgetError: a radius or step that no image can obey, or no radius.
        ImageError: no images, or images without label or with targets for some only.
        RecipeError: an option contradicts the protocol or the recipe, or targets are given twice.
    """
    listed = _is_targeted(images, labels)
    if listed and target_rule is not None:
        raise RecipeError(
            f"Targets come both from the list and from the rule {target_rule}.", "Give --targets or --target-rule."
        )
    recipe.check_targets(listed or target_rule is not None)
    if recipe.single_step and step_size is not None:
        raise RecipeError(f"{recipe} takes one step of the whole radius.", "Leave the step size out.")
    radius = None if eps is None else parse_radius(eps)
    step = None if step_size is None else parse_radius(step_size, "step_size")
    if protocol is not None:
        radius = protocol.resolve_number("eps", radius, protocol.eps)
        norm = protocol.resolve("norm", norm, (protocol.norm,))
        rounding = protocol.resolve("rounding", rounding, (protocol.rounding,))
        protocol.check_targets(None if target_rule is None else str(target_rule), listed)
        if not recipe.single_step:
            steps = protocol.resolve("steps", steps, protocol.steps)
            step = protocol.resolve_number("step-size", step, (protocol.step_size,))
    if radius is None:
        raise BudgetError("There is no radius.", "Give eps, such as 8/255, or a protocol.")
    steps, norm = recipe.check_steps(steps), norm or "linf"
    if step is None:
        check_default_step(recipe, norm, steps)
        step = radius if recipe.single_step else default_step_size(norm, [radius], steps)[0]
    preparation = None if protocol is None else _preparation(protocol, model)
    return AttackConfig(
        recipe=recipe,
        eps=radius,
        steps=steps,
        step_size=step,
        norm=norm,
        seed=whole_seed(seed),
        rounding=rounding or "inward",
        labels=labels,
        targeted=listed or target_rule is not None,
        target_rule=target_rule,
        protocol=None if protocol is None else protocol.name,
        preparation=preparation,
        members=len(_models(model)),
    )


def reach_note(settings: AttackConfig) -> list[str]:
    """A note if all steps of the last stage together stay inside the radius, which then never binds."""
    recipe, steps = settings.recipe, settings.recipe.own_steps(settings.steps)
    far, radius = steps * settings.step_size, settings.eps
    if settings.norm == "linf" and settings.rounding == "inward":
        radius = math.floor(255 * radius) / 255
    if recipe.update.single_step or recipe.start is not None or far > radius - 1e-9:
        return []
    taken, lead = ("1 step", "leads") if steps == 1 else (f"{steps} steps", "lead")
    return [
        f"{taken} of {_in_levels(settings.step_size)} {lead} at most {_in_levels(far)} away from a clean image, and "
        f"the radius is {_in_levels(radius)}: take more steps (--steps) or longer ones (--step-size) to "
        "use it up."
    ]


def _in_levels(value: float) -> str:
    return f"{255 * value:.4g}/255"


def _preparation(protocol: Protocol, model: Model | Surrogate | Ensemble) -> Preparation:
    found = {protocol.prepare_for(one.input_size[1:], one.interpolation) for one in _models(model)}
    if len(found) > 1:
        raise RecipeError(
            f"The protocol {protocol.name} gives the images the surrogate's own size, and the ensemble has several: "
            f"{'; '.join(sorted(map(str, found)))}.",
            "Use surrogates of one size, or leave the protocol out.",
        )
    return found.pop()


def _models(model: Model | Surrogate | Ensemble) -> tuple[Model, ...]:
    if isinstance(model, Ensemble):
        return tuple(surrogate.model for surrogate in model.surrogates)
    return (model.model if isinstance(model, Surrogate) else model,)


def _is_targeted(images: Sequence[ImageRecord], labels: str) -> bool:
    """Whether the list has targets; refuses lists without images or, unless they are to be predicted, labels."""
    if not images:
        raise ImageError("The list holds no images.", "Give at least one.")
    if labels not in ("given", "predicted"):
        raise ImageError(f"Labels cannot be {labels!r}.", "Use given or predicted.")
    if labels == "given":
        for image in images:
            if image.label is None:
                raise ImageError(
                    f"Image {image.image_id!r} has no label.",
                    "Give labels in a CSV or as names of sub-folders, or take the surrogate's own predictions with "
                    "--labels predicted (labels='predicted' in Python).",
                )
    with_target = sum(image.target is not None for image in images)
    if with_target not in (0, len(images)):
        raise ImageError(f"Only {with_target} of {len(images)} images have a target.", "Give each one, or none.")
    return with_target > 0
