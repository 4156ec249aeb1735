"""Load a network by its name, from the source that the name starts with."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from linbp.data.secret_names import refuse_secrets
from linbp.errors import ModelError
from linbp.models.black_box import BlackBox
from linbp.models.defences import behind
from linbp.models.model import Model
from linbp.models.onnx import OnnxModel
from linbp.models.packages import load_of_package, names_of_packages
from linbp.models.unknown_name import hint_for

__all__ = ["SOURCES", "load_model"]

SOURCES: dict[str, str] = {
    "torchvision": "torchvision:resnet50@IMAGENET1K_V1, torchvision:resnet50@path/net.pth, torchvision:resnet50@random",
    "timm": "timm:resnet50.a1_in1k, timm:resnet50@path/net.safetensors, timm:resnet50@random",
    "hf": "hf:google/vit-base-patch16-224, hf:ORG/NAME@REVISION, hf:path/to/folder, image classifiers of transformers",
    "hf-clip": "hf-clip:openai/clip-vit-base-patch32, hf-clip:path/to/folder@classes.txt, CLIP with classes as prompts",
    "onnx-torch": "onnx-torch:path/to/net.onnx, the same file as a PyTorch module, as a surrogate; --surrogate does it",
    "robustbench": "robustbench:cifar10/Linf/Carmon2019Unlabeled, robustbench:DATASET/THREAT/NAME@path/to/NAME.pt",
    "torch.hub": "torch.hub:DIR:ENTRY@FILE.json, torch.hub:OWNER/REPO:ENTRY@input_size=224,mean=0.5,std=0.5, "
    "entries of a hubconf.py, with preprocessing that you state",
    "file": "file:path/model.py:function, which returns a linbp.Model (or, as a victim, any classifier)",
    "demo": "demo:squeezenet1_1, demo:efficientnet_lite0, demo:efficientnet_lite1, demo:efficientnet_lite2, "
    "demo:cifar10/NAME",
    "cifar10": "cifar10:DIR/NAME.safetensors, what linbp zoo train wrote, cifar10:vgg19_bn@random",
    "program": "path/to/net.pt2, what torch.export.save wrote, with its preprocessing in net.json",
    "refined": "DIR, a folder that linbp refine, linearize or substitute wrote",
    "tflite": "path/to/net.tflite, as a victim, with its preprocessing in net.json",
    "onnx": "path/to/net.onnx, as a victim, with its preprocessing in net.json",
    "oip": "oip:http://HOST:PORT/MODEL or oip:grpc://HOST:PORT/MODEL, as a victim, with more about it in @FILE.json",
}
"""Each source and how its networks are named; the module `linbp.models.<source>` loads them, with `_` for `-` and `.`.
Other packages add sources by entry points of the group `linbp.sources`."""

_SUFFIXES = {".pt2": "program", ".onnx": "onnx", ".tflite": "tflite"}
_FILES = (*_SUFFIXES.values(), "refined")
"""Sources that are known by a file or a folder, without a word before it."""


def load_model(spec: str | os.PathLike[str]) -> Model | OnnxModel | BlackBox:
    """Load the network of a name.

    Args:
        spec: one of the forms in `SOURCES`, such as `torchvision:resnet50@IMAGENET1K_V1`. The weights have to be named:
            there is no default. `@random` gives an untrained network (seed 0).

    Returns:
        A Model. For victims only: an OnnxModel for an `.onnx` file, a BlackBox for a `Classifier` from a Python file
        and for a model behind HTTP, a Defended where defences stand before the name, as in
        `jpeg(75) | torchvision:resnet50@IMAGENET1K_V1`.

    Raises:
        RecipeError: no such defence, or a parameter out of range.
        ModelError: no such source, network, weights or file; weights that cannot be fetched, read or do not fit.
    """
    text = os.fspath(spec)
    refuse_secrets([text])
    chain, bar, name = text.rpartition("|")
    if bar and not os.path.exists(text):
        found = behind(chain, load_model(name.strip()))
        found.source["spec"] = text
        return found
    if os.path.isdir(text):  # of any string, also one that is too long for a path
        return _module("refined").load(Path(text))  # type: ignore[no-any-return]
    prefix, colon, rest = text.partition(":")
    suffix = Path(text).suffix.lower()
    model: Model | OnnxModel | BlackBox
    if colon and prefix in SOURCES and prefix not in _FILES:
        model = _module(prefix).load(rest)
    elif suffix in _SUFFIXES:
        model = _module(_SUFFIXES[suffix]).load(text)
    elif colon and prefix in names_of_packages(SOURCES):
        model = load_of_package(prefix, rest, SOURCES)
    else:
        words = [name for name in (*SOURCES, *names_of_packages(SOURCES)) if name not in _FILES]
        raise ModelError(f"{text!r} names no network.", hint_for(text, words, SOURCES.values()))
    model.source.setdefault("spec", text)
    return model


def _module(source: str) -> Any:
    """A source's module, imported only when it is used: timm and torchvision take seconds to import."""
    return importlib.import_module(f"linbp.models.{source.replace('-', '_').replace('.', '_')}")
