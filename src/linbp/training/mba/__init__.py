"""MBA: a normal distribution of a network's weights, as a surrogate whose weights are drawn anew at each step."""

from linbp.training.mba.folder import refine_mba
from linbp.training.mba.settings import Bayesian

__all__ = ["Bayesian", "refine_mba"]
