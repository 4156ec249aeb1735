"""Defences before a victim: one defence a file, and the chain of them that a name such as `jpeg(75) | NAME` says."""

from linbp.models.defences.base import Ask, Defence
from linbp.models.defences.bits import Bits
from linbp.models.defences.chain import Defended, behind, parse_chain
from linbp.models.defences.crop import Crop
from linbp.models.defences.gaussian import Gaussian
from linbp.models.defences.jpeg import Jpeg
from linbp.models.defences.median import Median
from linbp.models.defences.resize_pad import ResizePad
from linbp.models.defences.smoothing import Smoothing
from linbp.models.defences.tta import Augmentation

__all__ = [
    "Ask",
    "Augmentation",
    "Bits",
    "Crop",
    "Defence",
    "Defended",
    "Gaussian",
    "Jpeg",
    "Median",
    "ResizePad",
    "Smoothing",
    "behind",
    "parse_chain",
]
