"""The one loop of all attacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from linbp.attack.budget import Budget
from linbp.attack.config import AttackConfig
from linbp.attack.context import Context, Goal, Trace
from linbp.attack.gradients import StageGradients, check_images, check_shape
from linbp.attack.parts.update import ScalesSteps
from linbp.attack.pool import Pool
from linbp.attack.prepare import PreparedStage
from linbp.randomness import Draws
from linbp.registry import typed

__all__ = ["attack_batch"]


def attack_batch(
    stages: Sequence[PreparedStage],
    config: AttackConfig,
    clean: torch.Tensor,
    goal: Goal,
    ids: Sequence[str],
    *,
    pool: Pool | None = None,
    on_step: Callable[[], None] | None = None,
    on_flat: Callable[[Sequence[str]], None] | None = None,
) -> torch.Tensor:
    """Attack one batch, stage by stage; arguments are not checked.

    No stage starts from the images of the one before: each starts at the clean images, or where its `start` says.

    Args:
        stages: the recipe's, with their surrogates.
        config: of the attack on these images.
        clean: images (N, C, H, W) in [0, 1], on the 8-bit grid, on the surrogates' device and in their dtype.
        goal: labels and targets of the batch, on the same device.
        ids: what the draws of each image are keyed by.
        pool: images to mix in.
        on_step: called after each step.
        on_flat: called once with the ids of the images at which every gradient of the last stage was zero.

    Returns:
        The adversarial images (N, C, H, W), on the 8-bit grid.

    Raises:
        ModelError: a gradient is not finite; the images are named.
        RecipeError, ImageError: a part would have no effect on images of this size, or the pool has nothing for one.
    """
    budget = Budget(clean, _for_each(clean, config.eps), norm=config.norm, rounding=config.rounding)
    trace: Trace | None = None
    for number, stage in enumerate(stages):
        context = Context(
            budget=budget,
            goal=goal,
            step_size=torch.tensor(_for_each(clean, config.step_sizes[number]), dtype=torch.float64)
            .to(clean)
            .view(-1, 1, 1, 1),
            steps=stage.parts.own_steps(config.steps),
            pool=pool,
            trace=trace,
        )
        draws = Draws(config.seed, ids, 0, f"stage {number}/" if number else "")
        traced = any(later.parts.objective.needs_iterates for later in stages[number + 1 : number + 2])
        with typed(stage.parts.typed_word):
            trace = _run_stage(stage, context, draws, traced, on_step)
    assert trace is not None  # a recipe has at least one stage
    check_images(trace.images, ids, stages[-1].parts)
    if on_flat is not None and trace.flat is not None:
        on_flat([image_id for image_id, flat in zip(ids, trace.flat.tolist(), strict=True) if flat])
    return budget.finish(trace.images)


def _run_stage(
    stage: PreparedStage, context: Context, draws: Draws, traced: bool, on_step: Callable[[], None] | None
) -> Trace:
    """All steps of one stage.

        for step in range(steps):
            g = estimate(gradient of sum_i objective_i at transforms(p), update.look_ahead(x))
            x = project(x + step_size direction(update(g)))

    With `traced`, every point and the objective there is kept for the next stage.
    """
    parts, budget = stage.parts, context.budget
    gradients = StageGradients(stage, context, draws)
    update, estimate = parts.update.bind(context), parts.estimator.bind(context)
    images = budget.clean if parts.start is None else budget.project(parts.start.first(budget, draws))
    iterates, objectives = [], []
    for step in range(context.steps):
        if traced:
            iterates.append(images)
            objectives.append(gradients.values(images, step))
        gradient = estimate(gradients.at(step, draws, images), update.look_ahead(images))
        check_shape(parts.estimator, gradient, images.shape)
        direction = update.direction(gradient)
        check_shape(parts.update, direction, images.shape)
        change = budget.direction(direction) * context.step_size
        if isinstance(update, ScalesSteps):
            change = update.scaled(change)
            check_shape(parts.update, change, images.shape)
        images = budget.project(images + change)
        if on_step is not None:
            on_step()
    if traced:
        iterates.append(images)
        objectives.append(gradients.values(images, context.steps))
    return Trace(images=images, iterates=tuple(iterates), objectives=tuple(objectives), flat=gradients.flat)


def _for_each(images: torch.Tensor, values: tuple[float, ...]) -> tuple[float, ...]:
    """One value for each image, where one is given for all of them or one for each."""
    return values if len(values) > 1 else values * len(images)
