"""What an attack may cost: as many steps as a suite says, or as many as its number of gradients pays for."""

from __future__ import annotations

from linbp.attack.config import AttackConfig
from linbp.attack.protocol import Protocol
from linbp.attack.recipe.recipe import Recipe
from linbp.bench.suite import Suite
from linbp.errors import RecipeError

__all__ = ["affordable_steps", "needs_pool", "settings_for"]


def settings_for(
    suite: Suite,
    recipe: Recipe,
    eps: str | float,
    members: int,
    protocol: Protocol | None,
    gradients: int | None = None,
) -> AttackConfig:
    """The settings of one attack of a suite.

    Args:
        suite: it stands in.
        recipe: parsed.
        eps: its radius.
        members: how many networks the surrogate has.
        protocol: the suite's.
        gradients: that each image may cost; None: the suite's steps count.

    Raises:
        RecipeError, BudgetError: a value is out of range, contradicts the protocol, or pays for no step.
    """
    steps, step_size = suite.cost.steps, suite.cost.step_size
    if gradients is not None:
        steps = affordable_steps(recipe, gradients, members)
        try:
            recipe.check_steps(steps)
        except RecipeError as fault:
            paid = f"{gradients} gradients per image pay for {steps} step{'s' if steps > 1 else ''}"
            raise RecipeError(f"{fault.message} ({paid}.)", "Raise cost.gradients, or leave the recipe out.") from None
    if recipe.single_step:
        steps = step_size = None
    return AttackConfig.resolve(
        recipe,
        eps=eps,
        steps=steps,
        step_size=step_size,
        norm=suite.norm,
        seed=suite.seed,
        rounding=suite.rounding,
        labels=suite.labels,
        targets=getattr(suite.data, "targets", None) is not None,
        target_rule=suite.target_rule,
        pool=needs_pool(recipe) and suite.pool is not None,
        protocol=protocol,
        batch_size=suite.batch_size,
    )


def affordable_steps(recipe: Recipe, gradients: int, members: int) -> int:
    """The most steps for which a recipe takes at most so many gradients per image.

    Args:
        recipe: whose cost grows with its steps.
        gradients: that each image may cost.
        members: how many networks the surrogate has.

    Raises:
        RecipeError: a single step costs more.
    """
    least = recipe.gradients(1, members)
    if least > gradients:
        raise RecipeError(
            f"{recipe} takes {least} gradients for a single step, more than the {gradients} that each image may cost.",
            "Raise cost.gradients, or leave the recipe out.",
        )
    if recipe.single_step:
        return 1
    low, high = 1, gradients + 1  # a step costs at least one gradient
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if recipe.gradients(middle, members) <= gradients else (low, middle)
    return low


def needs_pool(recipe: Recipe) -> bool:
    """Whether a recipe mixes other images in."""
    return any(part.needs_pool for stage in recipe.stages for part in stage.transforms)
