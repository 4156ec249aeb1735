"""The one attack loop and its parts."""

from linbp.attack.api import craft
from linbp.attack.budget import Budget, parse_radius
from linbp.attack.choose_start import Choice, choose_start
from linbp.attack.context import Context, Trace
from linbp.attack.ensemble import Ensemble
from linbp.attack.goal import Goal
from linbp.attack.gradients import GradientOracle
from linbp.attack.loop import run
from linbp.attack.parts.estimator import (
    CommonWeakness,
    Estimator,
    PenalisedGradient,
    Plain,
    VarianceReducedEnsemble,
    VarianceTuning,
)
from linbp.attack.parts.objective import CrossEntropy, Objective, Observation
from linbp.attack.parts.start import RandomStart, Start
from linbp.attack.parts.transform import (
    Admix,
    DiverseInputs,
    ScaleInvariant,
    Transform,
    TranslationInvariant,
    UniformNoise,
)
from linbp.attack.parts.update import FullStep, Momentum, Nesterov, Progress, Sign, Update
from linbp.attack.pool import Pool
from linbp.attack.prepare import Prepared, prepare
from linbp.attack.recipe.recipe import Recipe

__all__ = [
    "Admix",
    "Budget",
    "Choice",
    "CommonWeakness",
    "Context",
    "CrossEntropy",
    "DiverseInputs",
    "Ensemble",
    "Estimator",
    "FullStep",
    "Goal",
    "GradientOracle",
    "Momentum",
    "Nesterov",
    "Objective",
    "Observation",
    "PenalisedGradient",
    "Plain",
    "Pool",
    "Prepared",
    "Progress",
    "RandomStart",
    "Recipe",
    "ScaleInvariant",
    "Sign",
    "Start",
    "Trace",
    "Transform",
    "TranslationInvariant",
    "UniformNoise",
    "Update",
    "VarianceReducedEnsemble",
    "VarianceTuning",
    "choose_start",
    "craft",
    "parse_radius",
    "prepare",
    "run",
]
