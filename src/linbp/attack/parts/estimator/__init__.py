"""How many gradients make one."""

from linbp.attack.parts.estimator.base import Estimate, Estimator
from linbp.attack.parts.estimator.cwa import CommonWeakness
from linbp.attack.parts.estimator.penalised_gradient import PenalisedGradient
from linbp.attack.parts.estimator.plain import Plain
from linbp.attack.parts.estimator.svre import VarianceReducedEnsemble
from linbp.attack.parts.estimator.variance_tuning import VarianceTuning

__all__ = [
    "CommonWeakness",
    "Estimate",
    "Estimator",
    "PenalisedGradient",
    "Plain",
    "VarianceReducedEnsemble",
    "VarianceTuning",
]
