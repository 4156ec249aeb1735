"""LGV: a network's weights along a run at a high learning rate, as a surrogate whose weights take turns."""

from linbp.training.lgv.folder import refine_lgv
from linbp.training.lgv.settings import HighRate

__all__ = ["HighRate", "refine_lgv"]
