"""Networks in ONNX files: onnxruntime computes their logits; there are no gradients."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from linbp.errors import ModelError
from linbp.models.checkpoint import existing_file, file_sha256
from linbp.models.model import Model, check_logits
from linbp.models.sidecar import read_sidecar

__all__ = ["OnnxModel", "load"]

_DTYPES = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16}


def load(rest: str) -> OnnxModel:
    """Load an `.onnx` file, with its preprocessing in a JSON file beside it (see `sidecar`)."""
    return OnnxModel(rest)


class OnnxModel:
    """A victim in an ONNX file: RGB images (N, 3, H, W) in [0, 1] go in, logits (N, classes) come out.

    It runs on the CPU until `to("cuda")`, which has an effect where onnxruntime has its CUDA provider. If the file
    has a fixed batch size, batches are cut into chunks of that size and the last one is filled up.

    Args:
        path: the `.onnx` file.

    Raises:
        ModelError: no such file, a broken one, or inputs and outputs other than one float batch of images (N, C, H, W)
            and logits. Of several outputs, the one called `logits` is used.
    """

    differentiable = False

    def __init__(self, path: str | Path) -> None:
        self.path = existing_file(path)
        self.name = self.path.name
        self.source: dict[str, Any] = {}
        self.session = self._session(["CPUExecutionProvider"])
        self.device = torch.device("cpu")
        self.dtype, self.batch, size = self._input()
        self.output = self._output()
        sidecar = read_sidecar(self.path)
        self.input_size: tuple[int, int, int] | None = sidecar.get("input_size", size)
        self.class_names = tuple(sidecar.get("classes", ()))
        self.preprocessing = Model(
            nn.Identity(),
            # A network that takes any size gets the images unchanged; this size is then not used.
            input_size=self.input_size or (3, 1, 1),
            **{key: sidecar[key] for key in ("mean", "std", "interpolation") if key in sidecar},
        )

    def _session(self, providers: list[str]) -> Any:
        import onnxruntime  # type: ignore[import-untyped]  # takes half a second, and only ONNX victims need it

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            return onnxruntime.InferenceSession(str(self.path), options, providers=providers)
        # onnxruntime's exceptions share no base class but this one.
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ModelError(
                f"onnxruntime cannot load {self.path.name}: {lines[0].rstrip('.')}.",
                "Check the file with onnx.checker, and that files of external data lie beside it.",
            ) from error

    def _input(self) -> tuple[torch.dtype, int | None, tuple[int, int, int] | None]:
        """Dtype, batch size (None: any) and image size (None: any) of the file's input."""
        inputs = self.session.get_inputs()
        if len(inputs) != 1:
            raise ModelError(
                f"{self.name} has {len(inputs)} inputs: {', '.join(entry.name for entry in inputs)}.",
                "Export a network that takes one batch of images (N, 3, H, W).",
            )
        shape = [length if isinstance(length, int) and length > 0 else None for length in inputs[0].shape]
        if inputs[0].type not in _DTYPES:
            raise ModelError(
                f"The input of {self.name} is {inputs[0].type}, not a float tensor.",
                "Export it with a float32 or float16 input; quantised networks take floats and quantise inside.",
            )
        if len(shape) != 4:
            raise ModelError(f"The input of {self.name} has shape {inputs[0].shape}.", "It must be (N, 3, H, W).")
        if shape[1] not in (None, 1, 3):
            layout = "NHWC, channels last" if shape[3] in (1, 3) else f"{shape[1]} channels"
            raise ModelError(
                f"The input of {self.name} has shape {inputs[0].shape}: {layout}.",
                "Export it with input (N, 3, H, W); a Transpose as first node turns the one into the other.",
            )
        if (shape[2] is None) != (shape[3] is None):
            raise ModelError(f"The input of {self.name} has shape {inputs[0].shape}.", "Fix both sides or neither.")
        size = None if shape[2] is None or shape[3] is None else (shape[1] or 3, shape[2], shape[3])
        return _DTYPES[inputs[0].type], shape[0], size

    def _output(self) -> str:
        names = [entry.name for entry in self.session.get_outputs()]
        if len(names) == 1:
            return str(names[0])
        if "logits" in names:
            return "logits"
        raise ModelError(
            f"{self.name} has {len(names)} outputs, none called logits: {', '.join(names[:8])}.",
            "Export it with logits as the only output, or under that name.",
        )

    def to(self, device: str | torch.device) -> OnnxModel:
        """The same model, on onnxruntime's CUDA provider if `device` is cuda and there is one; see `self.device`."""
        import onnxruntime

        wanted = torch.device(device)
        if wanted.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            self.session = self._session(["CUDAExecutionProvider", "CPUExecutionProvider"])
        elif self.device.type != "cpu":
            self.session = self._session(["CPUExecutionProvider"])
        # Only the session knows what it runs on: it falls back to the CPU where CUDA's libraries are missing.
        self.device = torch.device("cuda" if "CUDAExecutionProvider" in self.session.get_providers() else "cpu")
        return self

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes), float32 on the CPU, of images (N, C, H, W) in [0, 1].

        Raises:
            ModelError: onnxruntime fails, or returns something other than one finite row for each image.
        """
        pixels = images.detach().to(device="cpu", dtype=torch.float32)
        ready = self.preprocessing(pixels) if self.input_size else self.preprocessing.normalise(pixels)
        answers = [self._run(chunk) for chunk in ready.split(self.batch or max(1, len(ready)))]
        return check_logits(torch.cat(answers), len(images), self.name)

    def _run(self, chunk: torch.Tensor) -> torch.Tensor:
        lack = self.batch - len(chunk) if self.batch else 0
        filled = torch.cat([chunk, chunk[-1:].expand(lack, *chunk.shape[1:])]) if lack else chunk
        name = self.session.get_inputs()[0].name
        try:
            (answer,) = self.session.run([self.output], {name: filled.to(self.dtype).numpy()})
        # As above: onnxruntime's exceptions share no other base class.
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ModelError(
                f"{self.name} failed on {len(chunk)} images of {tuple(chunk.shape[1:])}: {lines[0][:200]}.",
                f"Write the size it takes into {self.path.with_suffix('.json').name} as input_size.",
            ) from error
        return torch.as_tensor(answer).float()[: len(chunk)]

    def identity(self) -> dict[str, Any]:
        """What results record: name, SHA-256 of the file and of all its weights, preprocessing."""
        own = file_sha256(self.path)
        digest = hashlib.sha256(own.encode())
        # Weights beyond 2 GB, and those of torch's exporter, are in files of external data beside the model.
        for place in sorted(
            {*self.path.parent.glob(f"{self.path.name}.data*"), *self.path.parent.glob(f"{self.path.name}_data*")}
        ):
            digest.update(file_sha256(place).encode())
        return {
            "name": self.name,
            "weights_sha256": digest.hexdigest(),
            "file_sha256": own,
            "input_size": list(self.input_size) if self.input_size else None,
            "mean": list(self.preprocessing.mean),
            "std": list(self.preprocessing.std),
            "interpolation": self.preprocessing.interpolation,
            "dtype": str(self.dtype).removeprefix("torch."),
            **self.source,
        }
