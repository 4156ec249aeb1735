"""LinS: remove activations from a position on in the forward pass, and fine-tune what is left."""

from linbp.training.fine_tuning.tuning import Tuning
from linbp.training.lins.folder import LinearizeReport, linearize_folder
from linbp.training.lins.in_memory import Linearized, linearize
from linbp.training.loop import TrainingProgress

__all__ = ["LinearizeReport", "Linearized", "TrainingProgress", "Tuning", "linearize", "linearize_folder"]
