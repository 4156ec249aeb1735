"""CIFAR-10 networks that anyone can train: architectures, settings and presets, and the weights that ship."""

from pathlib import Path

from linbp.zoo.architectures import ARCHITECTURES, Architecture
from linbp.zoo.presets import PRESETS, preset
from linbp.zoo.settings import Training

__all__ = ["ARCHITECTURES", "PRESETS", "WEIGHTS", "Architecture", "Training", "preset"]

WEIGHTS = Path(__file__).parent / "weights"
"""Where the weights that ship with linbp lie."""
