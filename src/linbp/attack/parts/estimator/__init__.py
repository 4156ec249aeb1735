"""How many gradients make one."""

from linbp.attack.parts.estimator.base import Estimate, Estimator
from linbp.attack.parts.estimator.cwa import CommonWeakness
from linbp.attack.parts.estimator.decowa import DeformationWarp
from linbp.attack.parts.estimator.expected_flatness import ExpectedFlatness
from linbp.attack.parts.estimator.gradient_relevance import GradientRelevance
from linbp.attack.parts.estimator.norm_penalty import NormPenalty
from linbp.attack.parts.estimator.penalised_gradient import PenalisedGradient
from linbp.attack.parts.estimator.plain import Plain
from linbp.attack.parts.estimator.reverse_perturbation import ReversePerturbation
from linbp.attack.parts.estimator.several_turns import SeveralTurns
from linbp.attack.parts.estimator.svre import VarianceReducedEnsemble
from linbp.attack.parts.estimator.variance_tuning import VarianceTuning

__all__ = [
    "CommonWeakness",
    "DeformationWarp",
    "Estimate",
    "Estimator",
    "ExpectedFlatness",
    "GradientRelevance",
    "NormPenalty",
    "PenalisedGradient",
    "Plain",
    "ReversePerturbation",
    "SeveralTurns",
    "VarianceReducedEnsemble",
    "VarianceTuning",
]
