"""Networks as functions of RGB images: one source of networks per file, all behind `load_model`."""

from linbp.models.black_box import BlackBox, Classifier
from linbp.models.defences import Defended
from linbp.models.identity import weights_sha256
from linbp.models.load import SOURCES, load_model
from linbp.models.logits import check_logits
from linbp.models.model import Model
from linbp.models.onnx import OnnxModel

__all__ = [
    "SOURCES",
    "BlackBox",
    "Classifier",
    "Defended",
    "Model",
    "OnnxModel",
    "check_logits",
    "load_model",
    "weights_sha256",
]
