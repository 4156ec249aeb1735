"""The one attack loop and its parts."""

from linbp.attack.api import craft
from linbp.attack.budget import Budget, parse_radius
from linbp.attack.choose_start import Choice, choose_start
from linbp.attack.config import AttackConfig
from linbp.attack.context import Context, Goal, Trace
from linbp.attack.ensemble import Ensemble
from linbp.attack.gradient_oracle import GradientOracle
from linbp.attack.loop import attack_batch
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
from linbp.attack.parts.update import FullStep, Momentum, Nesterov, Sign, Update, UpdateState
from linbp.attack.pool import Pool
from linbp.attack.prepare import Prepared, PreparedStage, prepare
from linbp.attack.recipe.recipe import Recipe
from linbp.attack.recipe.stage import Stage

__all__ = [
    "Admix",
    "AttackConfig",
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
    "PreparedStage",
    "RandomStart",
    "Recipe",
    "ScaleInvariant",
    "Sign",
    "Stage",
    "Start",
    "Trace",
    "Transform",
    "TranslationInvariant",
    "UniformNoise",
    "Update",
    "UpdateState",
    "VarianceReducedEnsemble",
    "VarianceTuning",
    "attack_batch",
    "choose_start",
    "craft",
    "parse_radius",
    "prepare",
]
