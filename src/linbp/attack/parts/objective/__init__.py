"""What is increased, one number an image."""

from linbp.attack.parts.objective.base import Features, Measure, Objective, Observation, Score
from linbp.attack.parts.objective.bfa import BFA
from linbp.attack.parts.objective.cross_entropy import CrossEntropy
from linbp.attack.parts.objective.fda import FDA
from linbp.attack.parts.objective.fia import FIA
from linbp.attack.parts.objective.ila import ILA, ILAF
from linbp.attack.parts.objective.ila_plus_plus import ILAPlusPlus
from linbp.attack.parts.objective.logits import Logit, Margin
from linbp.attack.parts.objective.naa import NAA
from linbp.attack.parts.objective.nrdm import NRDM
from linbp.attack.parts.objective.rewarded_cross_entropy import RewardedCrossEntropy
from linbp.attack.parts.objective.tap import TAP

__all__ = [
    "BFA",
    "FDA",
    "FIA",
    "ILA",
    "ILAF",
    "NAA",
    "NRDM",
    "TAP",
    "CrossEntropy",
    "Features",
    "ILAPlusPlus",
    "Logit",
    "Margin",
    "Measure",
    "Objective",
    "Observation",
    "RewardedCrossEntropy",
    "Score",
]
