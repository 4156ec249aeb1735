"""What is done to the input before a gradient is taken."""

from linbp.attack.parts.transform.admix import Admix
from linbp.attack.parts.transform.base import Transform
from linbp.attack.parts.transform.diverse_inputs import DiverseInputs
from linbp.attack.parts.transform.noise import UniformNoise
from linbp.attack.parts.transform.scale import ScaleInvariant
from linbp.attack.parts.transform.translation import TranslationInvariant

__all__ = ["Admix", "DiverseInputs", "ScaleInvariant", "Transform", "TranslationInvariant", "UniformNoise"]
