"""Networks in ONNX files as PyTorch modules, which give gradients: converted, and compared with onnxruntime."""

from __future__ import annotations

import importlib.metadata
import warnings
from typing import Any

import torch
from torch import nn

from linbp.errors import ModelError
from linbp.models.any_batch import traced_for_any_batch
from linbp.models.extras import require
from linbp.models.model import Model
from linbp.models.onnx import OnnxModel

__all__ = ["TOLERANCE", "as_torch", "load"]

TOLERANCE = 1e-4
"""Largest difference between the logits of the module and of onnxruntime, relative to the largest logit."""

BATCHES = (1, 2, 5)
"""How many images the two are compared on at a time."""


def load(rest: str) -> Model:
    """Load an `.onnx` file as a module, with its preprocessing in a JSON file beside it (see `sidecar`)."""
    return as_torch(OnnxModel(rest))


def as_torch(model: OnnxModel) -> Model:
    """A network in an ONNX file as a PyTorch module for any batch size, with the same preprocessing.

    onnx2pytorch converts it, after onnxscript has computed what is constant. Its logits are compared with those of
    onnxruntime on noise, plain and smooth images, in batches of 1, 2 and 5; they differ by no more than `TOLERANCE`.

    Args:
        model: as onnxruntime computes it.

    Raises:
        ModelError: an operator is not known, the logits differ, or it takes levels or images of any size.
    """
    if model.input_size is None:
        raise ModelError(
            f"{model.name} takes images of any size, and a surrogate has one.",
            f"Write it into {model.path.with_suffix('.json').name}: " + '{"input_size": [3, 224, 224]}.',
        )
    if not model.input.dtype.is_floating_point:
        raise ModelError(
            f"{model.name} takes whole levels, through which no gradient passes.",
            "Export it with a float32 input; as a victim linbp takes it as it is.",
        )
    network = _converted(model)
    found = Model(
        network.to(model.dtype),
        name=model.name,
        source={**model.source, "file_sha256": model.identity()["file_sha256"], "converted_by": _version()},
        **model.preprocessing.preprocessing_arguments,
    )
    found.class_names = model.class_names
    _compare(found, model)
    return found


def _converted(model: OnnxModel) -> nn.Module:
    converter = require("onnx2pytorch", "onnx", f"{model.name} as a surrogate")
    onnx = require("onnx", "onnx", f"{model.name} as a surrogate")
    optimizer = require("onnxscript.optimizer", "onnx", f"{model.name} as a surrogate")
    assert model.input_size is not None
    shape = model.input_size if not model.input.channels_last else (*model.input_size[1:], model.input_size[0])
    images = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0), dtype=model.dtype)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            proto = optimizer.optimize(_with_one_output(onnx.load(model.path), model.output))
            module = converter.ConvertModel(proto).eval().requires_grad_(False)
            graph = traced_for_any_batch(lambda batch: _first(module(batch)), images)
    # Each operator of the converter raises what it likes.
    except Exception as error:
        line = (str(error).strip().splitlines() or [""])[0].rstrip(".")[:200]
        raise ModelError(
            f"{model.name} cannot be turned into a PyTorch module ({_version()}): {type(error).__name__}: {line}.",
            "Use it as a --victim; as a surrogate, give the PyTorch network that it was exported from.",
        ) from error
    return _ChannelsLast(graph) if model.input.channels_last else graph


def _with_one_output(proto: Any, name: str) -> Any:
    """The file with one output, and without a flag for training that is off."""
    kept = [output for output in proto.graph.output if output.name == name]
    del proto.graph.output[:]
    proto.graph.output.extend(kept)
    for node in proto.graph.node:
        for attribute in [one for one in node.attribute if one.name == "training_mode" and one.i == 0]:
            node.attribute.remove(attribute)
    return proto


def _first(answer: Any) -> torch.Tensor:
    found: torch.Tensor = answer[0] if isinstance(answer, list | tuple) else answer
    return found


class _ChannelsLast(nn.Module):
    """Gives a network images (N, H, W, C)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        answer: torch.Tensor = self.network(images.permute(0, 2, 3, 1))
        return answer


def _compare(module: Model, model: OnnxModel) -> None:
    """Compare a module with onnxruntime.

    Raises:
        ModelError: their logits differ.
    """
    for batch in BATCHES:
        images = _images(batch, *module.input_size).to(module.dtype)
        ours, theirs = module.logits(images), model.logits(images)
        off = float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-12))
        if ours.shape != theirs.shape or not off <= TOLERANCE:
            raise ModelError(
                f"As a PyTorch module ({_version()}), {model.name} has other logits than in onnxruntime, by {off:.1e} "
                f"for {batch} images.",
                "Use it as a --victim; as a surrogate, give the PyTorch network that it was exported from.",
            )


def _images(count: int, channels: int, height: int, width: int) -> torch.Tensor:
    """Noise, plain and smooth images, in turns."""
    draw = torch.Generator().manual_seed(count)
    found = []
    for number in range(count):
        side = (height, 1, 5)[number % 3], (width, 1, 5)[number % 3]
        noise = torch.rand(1, channels, *side, generator=draw)
        found.append(nn.functional.interpolate(noise, size=(height, width), mode="bilinear"))
    return torch.cat(found)


def _version() -> str:
    return f"onnx2pytorch {importlib.metadata.version('onnx2pytorch')}"
