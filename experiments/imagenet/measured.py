"""What several scripts of this study share: their results files, and recipes, budgets and places in the networks."""

from __future__ import annotations

from typing import Any

from common.lines import RESULTS
from common.photographs import STEPS

from linbp.attack import Recipe, parse_radius

TRANSFER, RECIPES, CONTENDERS = (
    RESULTS / "imagenet" / f"{name}.jsonl" for name in ("transfer", "recipes", "contenders")
)
EPS = "16/255"
MIXED = "di(scale=8/7) + mi"
GRADIENTS = 100
"""Of every image under the first budget; a recipe that takes several a step gets fewer steps."""
BUDGETS = {"gradients": "about 100 gradients an image", "steps": "20 steps of 1/255"}
"""What is equal for all recipes of a table, and how its title says so."""
POSITIONS = {"squeezenet1_1": (0, 1, 3, 5, 7, 10, 15, 20), "mobilenet_edgetpu": (0, 4, 8, 12, 16, 20, 24, 28)}
"""Sites that LinBP begins at, where that is varied."""
PLACES = {
    "squeezenet1_1": {"start": 3, "late": 20, "middle": "network.features.7"},
    "mobilenet_edgetpu": {"start": 20, "late": 28, "middle": "network.blocks.3"},
}


def settings(recipe: Recipe, budget: str, members: int = 1) -> dict[str, Any]:
    """Steps and step size of a recipe: equal gradients an image in all its stages and surrogates, or equal steps."""
    if recipe.single_step:
        return {"steps": None, "step_size": None}
    if budget == "steps":
        return {"steps": STEPS, "step_size": "1/255"}
    steps = 1
    while recipe.gradients(steps + 1, members) <= GRADIENTS:
        steps += 1
    return {"steps": steps, "step_size": max(1 / 255, parse_radius(EPS) / steps)}


def cost(recipe: Recipe, budget: str, members: int = 1) -> dict[str, int]:
    """Steps, and gradients an image."""
    steps = settings(recipe, budget, members)["steps"] or 1
    return {"steps": steps, "gradients": recipe.gradients(steps, members)}
