"""How gradients become a direction; the budget turns the direction into a step of its norm."""

from linbp.attack.parts.update.base import Stateless, Update, UpdateState
from linbp.attack.parts.update.momentum import Momentum
from linbp.attack.parts.update.nesterov import Nesterov
from linbp.attack.parts.update.sign import FullStep, Sign

__all__ = ["FullStep", "Momentum", "Nesterov", "Sign", "Stateless", "Update", "UpdateState"]
