"""The one loop of all attacks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch

from linbp.attack.budget import Budget
from linbp.attack.context import Context, Trace
from linbp.attack.ensemble import fused
from linbp.attack.goal import Goal
from linbp.attack.gradients import GradientOracle, Member
from linbp.attack.norms import absolute_sum
from linbp.attack.parts.objective import Observation
from linbp.attack.parts.transform import Transform
from linbp.attack.pool import Pool
from linbp.attack.prepare import Stage
from linbp.errors import ModelError
from linbp.graph import Surrogate
from linbp.randomness import Draws

__all__ = ["run"]


def run(
    stages: Sequence[Stage],
    goal: Goal,
    budget: Budget,
    *,
    steps: int,
    step_size: torch.Tensor,
    full_step: torch.Tensor,
    seed: int,
    ids: Sequence[str],
    pool: Pool | None = None,
    on_step: Callable[[], None] | None = None,
) -> torch.Tensor:
    """Attack one batch, stage by stage; every stage begins at the clean images.

        for step in range(steps):
            at = update.look_ahead(x)
            g = estimate(gradient of sum_i objective_i at transforms(p), at)
            x = project(x + step_size direction(update(g)))

    Args:
        stages: the recipe's, with their surrogates.
        goal: labels and targets of the batch, on the surrogates' device.
        budget: of the batch's clean images, on the surrogates' device and in their dtype.
        steps: at least 1; a stage may have its own number.
        step_size: on the scale of [0, 1], shape (N, 1, 1, 1).
        full_step: the size of a step of the whole radius, of the same shape.
        seed: of the draws.
        ids: what the draws of each image are keyed by.
        pool: images to mix in.
        on_step: called after each step.

    Returns:
        The adversarial images (N, C, H, W), on the 8-bit grid.

    Raises:
        ModelError: a gradient is not finite; the images are named.
    """
    trace: Trace | None = None
    for number, stage in enumerate(stages):
        context = Context(
            budget=budget,
            goal=goal,
            step_size=full_step if stage.recipe.update.single_step else step_size,
            steps=stage.recipe.own_steps(steps),
            pool=pool,
            trace=trace,
        )
        draws = Draws(seed, ids, 0)
        following = stages[number + 1 : number + 2]
        keep = any(later.recipe.objective.needs_iterates for later in following)
        trace = _run_stage(stage, context, draws.under(f"stage {number}") if number else draws, keep, on_step)
    assert trace is not None  # a recipe has at least one stage
    return budget.finish(trace.images)


def _run_stage(stage: Stage, context: Context, draws: Draws, keep: bool, on_step: Callable[[], None] | None) -> Trace:
    """All steps of one stage; with `keep`, every point and the objective there is kept for the next stage."""
    recipe, budget = stage.recipe, context.budget
    gradients = _Gradients(stage, context)
    progress, estimate = recipe.update.bind(context), recipe.estimator.bind(context)
    images = budget.clean if recipe.start is None else budget.project(recipe.start.first(budget, draws))
    iterates: list[torch.Tensor] = []
    objectives: list[torch.Tensor] = []
    for step in range(context.steps):
        if keep:
            iterates.append(images)
            objectives.append(gradients.values(images))
        oracle = GradientOracle(
            step=step, draws=draws.at(step), iterate=images, together=gradients.together, each=gradients.each
        )
        found = estimate(oracle, progress.look_ahead(images))
        images = budget.project(images + budget.direction(progress.direction(found)) * context.step_size)
        if on_step is not None:
            on_step()
    if keep:
        iterates.append(images)
        objectives.append(gradients.values(images))
    return Trace(images=images, iterates=tuple(iterates), objectives=tuple(objectives))


class _Gradients:
    """The gradients of a stage's objective, of every surrogate and of all of them together."""

    def __init__(self, stage: Stage, context: Context) -> None:
        self.stage, self.context = stage, context
        self.transforms = sorted(stage.recipe.transforms, key=lambda transform: not transform.at_image)
        self.measures = [stage.recipe.objective.bind(context, _features(surrogate)) for surrogate in stage.surrogates]
        self.each: tuple[Member, ...] = tuple(self._member(index) for index in range(len(stage.surrogates)))

    def together(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """Of the ensemble's objective; of one surrogate's where it is alone."""
        if self.stage.fuse != "losses":
            return self._gradient(images, draws, self._fused)
        if len(self.each) == 1:
            return self.each[0](images, draws)
        total = self.each[0](images, draws)
        for member in self.each[1:]:
            total = total + member(images, draws)
        return total / len(self.each)

    def values(self, images: torch.Tensor) -> torch.Tensor:
        """The objective (N,) at images as they are, without gradients."""
        with torch.no_grad():
            if self.stage.fuse != "losses":
                return self._fused(images, images)
            every = [self._own(index, images, images) for index in range(len(self.each))]
            return torch.stack(every).mean(0)

    def _member(self, index: int) -> Member:
        return lambda images, draws: self._gradient(
            images, draws, lambda changed, start: self._own(index, changed, start)
        )

    def _own(self, index: int, changed: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        logits, features = self.stage.surrogates[index].observe(changed)
        return self.measures[index](Observation(logits=logits, features=features, images=start))

    def _fused(self, changed: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        logits = fused([surrogate.run(changed) for surrogate in self.stage.surrogates], self.stage.fuse)
        return self.measures[0](Observation(logits=logits, features={}, images=start))

    def _gradient(
        self, images: torch.Tensor, draws: Draws, objective: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """The mean over the transforms' copies of the gradient of each image's objective, with respect to the image."""
        choices = list(itertools.product(*(range(transform.copies()) for transform in self.transforms)))
        total: torch.Tensor | None = None
        for choice in choices:
            with torch.enable_grad():
                start = images.detach().requires_grad_()
                point, changed = _transformed(start, self.transforms, choice, self.context, draws)
                (found,) = torch.autograd.grad(objective(changed, point).sum(), start)
            total = found if total is None else total + found
        assert total is not None  # a product of ranges that are not empty
        gradient = total / len(choices) if len(choices) > 1 else total
        self._check(gradient, draws)
        return gradient

    def _check(self, gradient: torch.Tensor, draws: Draws) -> None:
        total = absolute_sum(gradient)[:, 0, 0, 0]  # NaN or infinite if any entry is
        if not bool(torch.isfinite(total).all()):
            finite = torch.isfinite(total).tolist()
            bad = [image_id for image_id, fine in zip(draws.ids, finite, strict=True) if not fine]
            names = " and ".join(surrogate.model.name for surrogate in self.stage.surrogates)
            raise ModelError(
                f"{names} has a gradient that is NaN or infinite at {len(bad)} of {len(finite)} images: "
                f"{', '.join(bad[:3])}{', ...' if len(bad) > 3 else ''}.",
                "Check its weights and its input range, or leave the image out.",
            )


def _transformed(
    images: torch.Tensor, transforms: Sequence[Transform], choice: Sequence[int], context: Context, draws: Draws
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the objective takes for the image, whose gradient some transforms act on, and what the network sees."""
    point = images
    for at, (transform, copy) in enumerate(zip(transforms, choice, strict=True)):
        others = [str(one) for other, one in enumerate(choice) if other != at and transforms[other].copies() > 1]
        own = draws.under("copy " + " ".join(others)) if others else draws
        images = transform.apply(images, context, own, copy)
        if transform.at_image:
            point = images
    return point, images


def _features(surrogate: Surrogate) -> Callable[[torch.Tensor], dict[str, torch.Tensor]]:
    def features(images: torch.Tensor) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            return surrogate.observe(images)[1]

    return features
