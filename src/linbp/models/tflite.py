"""Networks in TFLite files as victims: LiteRT computes their logits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from linbp.errors import ModelError
from linbp.models.black_box import BlackBox
from linbp.models.checkpoint import existing_file, file_sha256
from linbp.models.extras import require
from linbp.models.model import Model
from linbp.models.onnx_file import choose_output
from linbp.models.sidecar import PREPROCESSING, read_sidecar

__all__ = ["TfliteVictim", "load"]

_LEVELS = {np.uint8: 0, np.int8: -128}
"""Where levels of 0 to 255 begin."""


def load(rest: str) -> BlackBox:
    """Load a `.tflite` file, with its preprocessing in a JSON file beside it (see `sidecar`)."""
    return BlackBox(TfliteVictim(rest))


class TfliteVictim:
    """A victim in a TFLite file: RGB images (N, 3, H, W) in [0, 1] go in, scores (N, classes) come out.

    The input may be (n, H, W, 3) or (n, 3, H, W), of float32, uint8 or int8. Whole numbers q stand for
    scale * (q - zero point): with a mean or a std beside it, the normalised image is quantised so; without, such a
    network gets the levels of 0 to 255 themselves, int8 those minus 128. Scores of whole numbers are read likewise.

    Args:
        path: the `.tflite` file.

    Raises:
        ModelError: no such file, a broken one, one with operators that LiteRT lacks, or inputs and outputs other than
            one batch of RGB images and scores. Of several outputs, that of the sidecar's `output` is used.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = existing_file(path)
        self.name = self.path.name
        self.interpreter = self._opened()
        sidecar = read_sidecar(self.path)
        inputs, outputs = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        if len(inputs) != 1:
            raise ModelError(
                f"{self.name} has {len(inputs)} inputs: {', '.join(map(_words, inputs[:8]))}.",
                "Convert a network that takes one batch of images.",
            )
        self.input = inputs[0]
        self.batch, self.channels_last, size = self._layout(sidecar.get("input_size"))
        self.input_size: tuple[int, int, int] = size
        entries = [SimpleNamespace(name=one["name"], shape=one["shape"].tolist(), type="tensor()") for one in outputs]
        chosen = choose_output(entries, self.name, sidecar.get("output"))
        self.output = next(one for one in outputs if one["name"] == chosen)
        self.class_names = tuple(sidecar.get("classes", ()))
        given = {key: sidecar[key] for key in PREPROCESSING if key in sidecar}
        self.normalised = bool(given.keys() & {"mean", "std"})
        self.preprocessing = Model(nn.Identity(), input_size=size, **given)

    def _opened(self) -> Any:
        interpreter = require("ai_edge_litert.interpreter", "tflite", self.name)
        try:
            found = interpreter.Interpreter(model_path=str(self.path), num_threads=1)
            found.allocate_tensors()
        # LiteRT raises ValueError and RuntimeError, with a line of its own.
        except Exception as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
            raise ModelError(
                f"LiteRT cannot load {self.name}: {line}.",
                "Convert it again, with built-in operators only (no Select TF ops); half a download is fetched again.",
            ) from error
        return found

    def _layout(self, wanted: Sequence[int] | None) -> tuple[int, bool, tuple[int, int, int]]:
        """Images at a time, whether channels are last, and (channels, height, width)."""
        kind, shape = self.input["dtype"], list(map(int, self.input["shape"]))
        if kind not in (np.float32, np.uint8, np.int8) or len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise ModelError(
                f"The input of {self.name} is {_words(self.input)}, and images are (n, height, width, 3).",
                "Convert it with such an input, of float32, uint8 or int8.",
            )
        last = shape[3] == 3
        found = (3, *(shape[1:3] if last else shape[2:]))
        free = -1 in list(self.input["shape_signature"])[1:]
        if free and wanted is not None:
            found = tuple(wanted)
            sides = [found[1], found[2]]
            self.interpreter.resize_tensor_input(
                self.input["index"], [shape[0], *sides, 3] if last else [shape[0], 3, *sides]
            )
            self.interpreter.allocate_tensors()
        elif free or (wanted is not None and tuple(wanted) != found):
            beside = self.path.with_suffix(".json").name
            raise ModelError(
                f"{self.name} takes {_words(self.input)}" + (f", and {beside} says {list(wanted)}." if wanted else "."),
                f'Write the size that it takes into {beside}: {{"input_size": [3, 224, 224]}}.',
            )
        return max(1, shape[0]), last, (found[0], found[1], found[2])

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Scores (N, classes), float32, of images (N, 3, H, W) in [0, 1]."""
        ready = self.preprocessing(images.detach().float().cpu())
        if self.channels_last:
            ready = ready.permute(0, 2, 3, 1)
        whole = self._quantised(ready.contiguous().numpy())
        answers = []
        for start in range(0, len(whole), self.batch):
            chunk = whole[start : start + self.batch]
            filled = np.concatenate([chunk, *[chunk[-1:]] * (self.batch - len(chunk))])
            self.interpreter.set_tensor(self.input["index"], filled)
            self.interpreter.invoke()
            answers.append(self._read(self.interpreter.get_tensor(self.output["index"]))[: len(chunk)])
        return torch.from_numpy(np.concatenate(answers))

    def _quantised(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Normalised images, or images in [0, 1], as the network's input takes them."""
        kind = self.input["dtype"]
        if kind == np.float32:
            return values
        scale, zero = self.input["quantization"]
        values = values / scale + zero if self.normalised and scale else values * 255 + _LEVELS[kind]
        limits = np.iinfo(kind)
        found: np.ndarray[Any, Any] = np.clip(np.rint(values), limits.min, limits.max).astype(kind)
        return found

    def _read(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Scores as numbers."""
        scale, zero = self.output["quantization"]
        found: np.ndarray[Any, Any] = values.astype(np.float32)
        return (found - zero) * np.float32(scale) if scale and values.dtype != np.float32 else found

    def identity(self) -> dict[str, Any]:
        """What results record: name, SHA-256 of the file, and preprocessing."""
        digest = file_sha256(self.path)
        return {
            "name": self.name,
            "weights_sha256": digest,
            "file_sha256": digest,
            **self.preprocessing.preprocessing_arguments,
            "dtype": np.dtype(self.input["dtype"]).name,
        }


def _words(tensor: Any) -> str:
    return f"{tensor['name']} {tuple(int(length) for length in tensor['shape_signature'])} {np.dtype(tensor['dtype'])}"
