"""What is done to the input before a gradient is taken."""

from linbp.attack.parts.transform.admix import Admix
from linbp.attack.parts.transform.base import MapTransform, Transform
from linbp.attack.parts.transform.bsr import BlockShuffle
from linbp.attack.parts.transform.dem import DiversityEnsemble
from linbp.attack.parts.transform.diverse_inputs import DiverseInputs
from linbp.attack.parts.transform.ilpd import IntermediateDecay
from linbp.attack.parts.transform.noise import UniformNoise
from linbp.attack.parts.transform.ops import OperatorSampling
from linbp.attack.parts.transform.paced_patchout import PacedPatchOut
from linbp.attack.parts.transform.patchout import PatchOut
from linbp.attack.parts.transform.scale import ScaleInvariant
from linbp.attack.parts.transform.shift_grid import ShiftGrid
from linbp.attack.parts.transform.sia import StructureInvariant
from linbp.attack.parts.transform.ssa import SpectrumSimulation
from linbp.attack.parts.transform.translation import TranslationInvariant

__all__ = [
    "Admix",
    "BlockShuffle",
    "DiverseInputs",
    "DiversityEnsemble",
    "IntermediateDecay",
    "MapTransform",
    "OperatorSampling",
    "PacedPatchOut",
    "PatchOut",
    "ScaleInvariant",
    "ShiftGrid",
    "SpectrumSimulation",
    "StructureInvariant",
    "Transform",
    "TranslationInvariant",
    "UniformNoise",
]
