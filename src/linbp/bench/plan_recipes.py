"""The recipes of a suite on each of its surrogates, and the settings of every attack."""

from __future__ import annotations

from collections.abc import Mapping

from linbp.attack.config import AttackConfig
from linbp.attack.protocol import Protocol
from linbp.attack.recipe.recipe import Recipe
from linbp.bench.cost import settings_for
from linbp.bench.faults import Faults
from linbp.bench.suite import PLACE, Suite, SuiteRecipe, SuiteSurrogate, recipe_on
from linbp.errors import RecipeError

__all__ = ["AttackName", "configs_of", "recipes_of"]

AttackName = tuple[str, str, str, int]
"""Surrogate, recipe, radius as text, steps."""


def recipes_of(suite: Suite, faults: Faults) -> dict[tuple[str, str], SuiteRecipe]:
    """Every recipe on every surrogate that it is for, by the surrogate's name and its own; in the order of a plan.

    Args:
        suite: as it was read.
        faults: gets those of recipes that lack a place, and of surrogates without a recipe.
    """
    found = {}
    for surrogate in suite.surrogates:
        for recipe in suite.recipes:
            with faults.collected():
                if (filled := recipe_on(recipe, surrogate)) is not None:
                    found[surrogate.name, recipe.name] = filled
        with faults.collected(f"Surrogate {surrogate.name}: "):
            _check_surrogate(suite, surrogate)
    return found


def configs_of(
    suite: Suite, recipes: Mapping[tuple[str, str], SuiteRecipe], protocol: Protocol | None, faults: Faults
) -> dict[AttackName, AttackConfig]:
    """The settings of every attack.

    Args:
        suite: as it was read.
        recipes: on their surrogates.
        protocol: the suite's.
        faults: gets those of recipes, radii and costs.
    """
    found = {}
    members = {one.name: len(one.models) for one in suite.surrogates}
    own = {one.name: suite.model_copy(update={"labels": one.labels or suite.labels}) for one in suite.surrogates}
    for (surrogate, name), recipe in recipes.items():
        with faults.collected(f"Recipe {name}: "):
            parsed = Recipe.parse(recipe.recipe)
            _refuse_auto(parsed)
            for eps in suite.eps:
                for config in _affordable(own[surrogate], parsed, eps, members[surrogate], protocol):
                    found[surrogate, name, str(eps), config.steps] = config
    return found


def _affordable(
    suite: Suite, recipe: Recipe, eps: str | float, members: int, protocol: Protocol | None
) -> list[AttackConfig]:
    """One for each budget of the suite, without those that pay for no step.

    Raises:
        RecipeError: none of them pays for one, or it cannot be run at all.
    """
    found, fault = [], None
    for budget in suite.cost.gradients or (None,):
        try:
            found.append(settings_for(suite, recipe, eps, members, protocol, budget))
        except RecipeError as error:
            fault = error
    if fault is not None and not found:
        raise fault
    return found


def _check_surrogate(suite: Suite, surrogate: SuiteSurrogate) -> None:
    """Refuse a surrogate that no recipe is for, and places that none of its recipes names."""
    mine = [one for one in suite.recipes if one.on is None or surrogate.name in one.on]
    if not mine:
        raise RecipeError("No recipe is for it.", "Leave it out, or name it in a recipe's `on`.")
    named = {name for one in mine for name in PLACE.findall(one.recipe)}
    for name, _ in surrogate.places:
        if name not in named:
            raise RecipeError(f"No recipe names its place {name!r}.", f"Write {{{name}}} in a recipe, or leave it out.")


def _refuse_auto(recipe: Recipe) -> None:
    from linbp.attack.choose_start import has_auto_start

    if has_auto_start(recipe):
        raise RecipeError(
            f"{recipe} would choose its start anew for each run.",
            "Choose it once (linbp craft with --proxy, or linbp.choose_start), and write the number.",
        )
