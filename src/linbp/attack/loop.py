"""The one loop of all attacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from linbp.attack.budget import Budget
from linbp.attack.goal import Goal
from linbp.attack.recipe import Recipe
from linbp.draws import Draws
from linbp.errors import ModelError
from linbp.graph import Surrogate

__all__ = ["run"]


def run(
    surrogate: Surrogate,
    recipe: Recipe,
    goal: Goal,
    budget: Budget,
    *,
    steps: int,
    step_size: float | torch.Tensor,
    seed: int,
    ids: Sequence[str],
    on_step: Callable[[], None] | None = None,
) -> torch.Tensor:
    """Attack one batch.

        for step in range(steps):
            g = estimate(gradient of sum_i objective_i at transforms(x))
            x = project(x + step_size direction(update(g)))

    Args:
        surrogate: gives the gradients, with the recipe's rules in it.
        recipe: the parts.
        goal: labels and targets of the batch, on the surrogate's device.
        budget: of the batch's clean images, on the surrogate's device and in its dtype.
        steps: at least 1.
        step_size: on the scale of [0, 1], one number or one for each image, shape (N, 1, 1, 1).
        seed: of the draws.
        ids: what the draws of each image are keyed by.
        on_step: called after each step.

    Returns:
        The twins (N, C, H, W), on the 8-bit grid.

    Raises:
        ModelError: a gradient is not finite; the images are named.
    """
    progress = recipe.update.begin()
    draws = Draws(seed, ids, 0)
    images = budget.clean if recipe.start is None else budget.project(recipe.start.first(budget, draws))
    for step in range(steps):
        now = draws.at(step)

        def gradient(at: torch.Tensor, now: Draws = now) -> torch.Tensor:
            return _gradient(surrogate, recipe, goal, budget, now, at)

        estimate = recipe.estimator.estimate(gradient, progress.look_ahead(images))
        direction = budget.direction(progress.direction(estimate))
        images = budget.project(images + direction * step_size)
        if on_step is not None:
            on_step()
    return budget.finish(images)


def _gradient(
    surrogate: Surrogate, recipe: Recipe, goal: Goal, budget: Budget, draws: Draws, at: torch.Tensor
) -> torch.Tensor:
    """The gradient of every image's own objective, with respect to the image, through the transforms."""
    with torch.enable_grad():
        start = at.detach().requires_grad_()
        images = start
        for transform in recipe.transforms:
            images = transform.apply(images, budget, draws)
        objective = recipe.objective.value(surrogate.run(images), goal)
        (gradient,) = torch.autograd.grad(objective.sum(), start)
    total = gradient.sum(dim=(1, 2, 3))  # NaN or infinite if any entry is
    if not bool(torch.isfinite(total).all()):
        bad = [image_id for image_id, fine in zip(draws.ids, torch.isfinite(total).tolist(), strict=True) if not fine]
        raise ModelError(
            f"{surrogate.model.name} has a gradient that is NaN or infinite at image {', '.join(bad[:3])}.",
            "Check its weights and its input range, or leave the image out.",
        )
    return gradient
