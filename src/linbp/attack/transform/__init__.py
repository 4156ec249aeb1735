"""What is done to the input before a gradient is taken."""

from linbp.attack.transform.base import Transform
from linbp.attack.transform.diverse_inputs import DiverseInputs
from linbp.attack.transform.noise import UniformNoise

__all__ = ["DiverseInputs", "Transform", "UniformNoise"]
