"""The one attack loop and its parts."""

from linbp.attack.budget import Budget, parse_radius
from linbp.attack.craft import craft, prepare
from linbp.attack.estimator import Plain
from linbp.attack.goal import Goal
from linbp.attack.loop import run
from linbp.attack.objective import CrossEntropy
from linbp.attack.recipe import Recipe
from linbp.attack.start import RandomStart
from linbp.attack.transform import DiverseInputs, UniformNoise
from linbp.attack.update import FullStep, Momentum, Sign

__all__ = [
    "Budget",
    "CrossEntropy",
    "DiverseInputs",
    "FullStep",
    "Goal",
    "Momentum",
    "Plain",
    "RandomStart",
    "Recipe",
    "Sign",
    "UniformNoise",
    "craft",
    "parse_radius",
    "prepare",
    "run",
]
