"""Substitutes: networks that are trained on a victim's answers, where no public network has its classes."""

from linbp.training.fine_tuning.tuning import Tuning
from linbp.training.substitute.folder import DEFAULT, LEAST_STEPS, Imitated, SubstituteFolder, make_substitute

__all__ = ["DEFAULT", "LEAST_STEPS", "Imitated", "SubstituteFolder", "Tuning", "make_substitute"]
