"""Networks in ONNX files: onnxruntime computes their logits; there are no gradients."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from linbp.errors import ModelError
from linbp.models.centre_crop import read_crop
from linbp.models.checkpoint import existing_file, file_sha256
from linbp.models.logits import check_logits
from linbp.models.model import Model
from linbp.models.onnx_file import choose_output, external_files, read_input
from linbp.models.sidecar import PREPROCESSING, read_sidecar

__all__ = ["OnnxModel", "load"]


def load(rest: str) -> OnnxModel:
    """Load an `.onnx` file, with its preprocessing in a JSON file beside it (see `sidecar`)."""
    return OnnxModel(rest)


class OnnxModel:
    """A victim in an ONNX file: RGB images (N, 3, H, W) in [0, 1] go in, logits (N, classes) come out.

    It runs on the CPU until `to("cuda")`, which has an effect where onnxruntime has its CUDA provider. If the file
    has a fixed batch size, batches are cut into chunks of that size and the last one is filled up. A file that takes
    (N, H, W, 3) gets that; one that takes uint8 gets levels of 0 to 255.

    Args:
        path: the `.onnx` file.

    Raises:
        ModelError: no such file, a broken one, or inputs and outputs other than one batch of RGB images and logits. Of
            several outputs, that of the sidecar's `output` is used, else the one called `logits`.
    """

    differentiable = False

    def __init__(self, path: str | Path) -> None:
        self.path = existing_file(path)
        self.name = self.path.name
        self.source: dict[str, Any] = {}
        self.session = self._session(["CPUExecutionProvider"])
        self.device = torch.device("cpu")
        sidecar = read_sidecar(self.path)
        self.input = read_input(self.session.get_inputs(), self.name, sidecar)
        self.output = choose_output(self.session.get_outputs(), self.name, sidecar.get("output"))
        self.batch = self.input.batch
        self.input_size: tuple[int, int, int] | None = self.input.size
        self.dtype = torch.float32 if self.input.dtype == torch.uint8 else self.input.dtype
        self.class_names = tuple(sidecar.get("classes", ()))
        given = {key: sidecar[key] for key in PREPROCESSING if key in sidecar}
        if self.input.dtype == torch.uint8 and given.keys() & {"mean", "std"}:
            raise ModelError(
                f"{self.name} takes uint8, levels of 0 to 255, so that nothing can be normalised.",
                f"Take mean and std out of {self.path.with_suffix('.json').name}.",
            )
        crop = read_crop(self.input_size and self.input_size[1:], given.get("resize"), given.get("crop"))
        if self.input_size is None and crop is not None:
            self.input_size = (3, *crop.crop)
        # A network that takes any size gets the images unchanged; this size is then not used.
        self.preprocessing = Model(nn.Identity(), input_size=self.input_size or (3, 1, 1), **given)

    def _session(self, providers: list[str]) -> Any:
        import onnxruntime  # type: ignore[import-untyped]  # takes half a second, and only ONNX victims need it

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            return onnxruntime.InferenceSession(str(self.path), options, providers=providers)
        # onnxruntime's exceptions share no base class but this one.
        except Exception as error:
            gone = [name for name in external_files(self.path) if not (self.path.parent / name).is_file()]
            if gone:
                raise ModelError(
                    f"The weights of {self.name} lie in {', '.join(gone[:3])}, which is not beside it.",
                    f"Copy it into {self.path.parent}, under that name; or export with the weights inside.",
                ) from error
            raise ModelError(
                f"onnxruntime cannot load {self.path.name}: {_line(error)}.",
                "Check the file with onnx.checker; a newer onnxruntime may know more operators.",
            ) from error

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
        """Scores (N, classes), float32 on the CPU (float64 where the file's are), of images (N, C, H, W) in [0, 1].

        Raises:
            ModelError: onnxruntime fails, or returns something other than one finite row for each image.
        """
        kind = torch.float64 if self.dtype == torch.float64 else torch.float32
        pixels = images.detach().to(device="cpu", dtype=kind)
        ready = self.preprocessing(pixels) if self.input_size else self.preprocessing.normalise(pixels)
        answers = [self._run(chunk) for chunk in ready.split(self.batch or max(1, len(ready)))]
        if self.batch is None and len(ready) > 1 and answers[0].shape[:1] != (len(ready),):
            self._refuse_fixed_batch(ready, answers[0])
        return check_logits(torch.cat(answers), len(images), self.name)

    def _refuse_fixed_batch(self, images: torch.Tensor, answer: torch.Tensor) -> None:
        """Say so if a batch of one gets one row, where one of several does not get several."""
        alone = self._run(images[:1])
        if alone.ndim == 2 and len(alone) == 1 and alone.shape[1] > 1:
            raise ModelError(
                f"{self.name} answers {len(images)} images with shape {tuple(answer.shape)}, and one with "
                f"{tuple(alone.shape)}: a batch of one is built in, as by a Reshape to (1, ...).",
                "Export it with flatten(1) or reshape(x.shape[0], -1) and a free batch; or evaluate with "
                "--batch-size 1 (batch_size=1).",
            )

    def _run(self, chunk: torch.Tensor) -> torch.Tensor:
        lack = self.batch - len(chunk) if self.batch else 0
        filled = torch.cat([chunk, chunk[-1:].expand(lack, *chunk.shape[1:])]) if lack else chunk
        if self.input.dtype == torch.uint8:
            filled = (filled * 255).round().clamp(0, 255)
        if self.input.channels_last:
            filled = filled.permute(0, 2, 3, 1).contiguous()
        try:
            (answer,) = self.session.run([self.output], {self.input.name: filled.to(self.input.dtype).numpy()})
        # As above: onnxruntime's exceptions share no other base class.
        except Exception as error:
            raise ModelError(
                f"{self.name} failed on {len(chunk)} images of {tuple(chunk.shape[1:])}: {_line(error)[:200]}.",
                self._advice(len(chunk)),
            ) from error
        found = torch.as_tensor(answer)
        return (found.float() if found.dtype in (torch.float16, torch.bfloat16) else found)[: len(chunk)]

    def _advice(self, count: int) -> str:
        """What may help where a batch of images fails: only what can still be wrong."""
        advice = []
        if self.input_size is None:
            advice.append(f"Write the size it takes into {self.path.with_suffix('.json').name} as input_size.")
        if self.batch is None and count > 1:
            advice.append(
                "If it was exported with a fixed batch (a Reshape to a number of images), export it with a free one, "
                "or give that number as --batch-size (batch_size)."
            )
        return " ".join(advice) or "Check the file with onnx.checker, and run it in onnxruntime by itself."

    def identity(self) -> dict[str, Any]:
        """What results record: name, SHA-256 of the file and of all its weights, preprocessing."""
        own = file_sha256(self.path)
        digest = hashlib.sha256(own.encode())
        # Weights beyond 2 GB, and those of torch's exporter, are in files of external data beside the model.
        for name in external_files(self.path):
            digest.update(file_sha256(self.path.parent / name).encode())
        return {
            "name": self.name,
            "weights_sha256": digest.hexdigest(),
            "file_sha256": own,
            **self.preprocessing.preprocessing_arguments,
            "input_size": list(self.input_size) if self.input_size else None,
            "dtype": str(self.dtype).removeprefix("torch."),
            **self.source,
        }


def _line(error: Exception) -> str:
    """The first line of an exception, without its full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
