"""What is increased, one number an image."""

from linbp.attack.parts.objective.base import Features, Measure, Objective, Observation
from linbp.attack.parts.objective.cross_entropy import CrossEntropy
from linbp.attack.parts.objective.fda import FDA
from linbp.attack.parts.objective.ila import ILA, ILAF
from linbp.attack.parts.objective.ila_plus_plus import ILAPlusPlus
from linbp.attack.parts.objective.logits import Logit, Margin
from linbp.attack.parts.objective.nrdm import NRDM
from linbp.attack.parts.objective.tap import TAP

__all__ = [
    "FDA",
    "ILA",
    "ILAF",
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
]
