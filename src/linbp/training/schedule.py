"""How the learning rate changes from step to step."""

from __future__ import annotations

import math
from typing import Literal

__all__ = ["Fall", "learning_rate"]

Fall = Literal["linear", "cosine", "none"]


def learning_rate(highest: float, step: int, steps: int, *, warm_up: float, fall: Fall) -> float:
    """The learning rate of a step, counted from 0, of `steps`: it rises linearly, then falls to 0 behind the last step,
    or stays.

    Args:
        highest: the highest rate.
        step: number of the step.
        steps: how many there are.
        warm_up: share of the steps in which the rate rises, in [0, 1).
        fall: along a line, along half a cosine, or not at all.
    """
    rising = round(warm_up * steps)
    if step < rising:
        return highest * (step + 1) / rising
    if fall == "none":
        return highest
    if fall == "linear":
        return highest * (steps - step) / (steps - rising)
    return highest * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
