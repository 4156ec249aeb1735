"""How gradients become a direction; the budget turns the direction into a step of its norm."""

from linbp.attack.parts.update.base import ScalesSteps, Stateless, Update, UpdateState
from linbp.attack.parts.update.damped_momentum import DampedMomentum
from linbp.attack.parts.update.momentum import Momentum
from linbp.attack.parts.update.nesterov import Nesterov
from linbp.attack.parts.update.running_mean import RunningMean
from linbp.attack.parts.update.sign import FullStep, Sign

__all__ = [
    "DampedMomentum",
    "FullStep",
    "Momentum",
    "Nesterov",
    "RunningMean",
    "ScalesSteps",
    "Sign",
    "Stateless",
    "Update",
    "UpdateState",
]
