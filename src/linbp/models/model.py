"""A network with its preprocessing: RGB images in [0, 1] go in, logits come out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from linbp.errors import LogitsError, ModelError

__all__ = ["Model", "weights_sha256"]


def weights_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of a state dict's content: names, dtypes, shapes and bytes in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()


class Model(nn.Module):
    """Any network as a function of RGB images: resize, normalise, logits.

    Images of another size than the network's are resized as a whole (no crop: every pixel of the image counts), with
    antialiasing, and then normalised as `(image - mean) / std`.

    Args:
        module: takes a normalised batch (N, 3, H, W) and returns logits (N, classes). It is in evaluation mode only
            while it runs; its hooks and flags stay as they are.
        input_size: (channels, height, width) that the module takes.
        mean: of each channel, on the scale of [0, 1].
        std: of each channel, on the scale of [0, 1].
        interpolation: `bilinear`, `bicubic` or `nearest`.
        name: what results call the network.
        source: further facts for the results, such as the checkpoint's file and hash.
        program: the exported program that `module` was unpacked from, where there is one.

    Raises:
        ModelError: the size, mean or standard deviation is not possible.
    """

    differentiable = True
    dynamic_batch = True
    """Whether the network takes any batch size; an exported program may not."""
    class_names: tuple[str, ...] = ()
    """The names of the classes, in the order of the logits, where the source has them."""

    def __init__(
        self,
        module: nn.Module,
        *,
        input_size: Sequence[int],
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        interpolation: str = "bilinear",
        name: str | None = None,
        source: Mapping[str, Any] | None = None,
        program: torch.export.ExportedProgram | None = None,
    ) -> None:
        super().__init__()
        if len(input_size) != 3 or min(input_size) < 1:
            raise ModelError(
                f"input_size is {tuple(input_size)}.", "Give (channels, height, width), such as (3, 224, 224)."
            )
        if not len(mean) == len(std) == input_size[0] or min(std) <= 0:
            raise ModelError(
                f"mean {tuple(mean)} and std {tuple(std)} do not fit {input_size[0]} channels.",
                "Give one mean and one positive standard deviation for each channel, on the scale of [0, 1].",
            )
        if interpolation not in ("bilinear", "bicubic", "nearest"):
            raise ModelError(f"Interpolation {interpolation!r} is not known.", "Use bilinear, bicubic or nearest.")
        self.module = module
        self.input_size = (int(input_size[0]), int(input_size[1]), int(input_size[2]))
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))
        self.interpolation = interpolation
        self.name = name or type(module).__name__
        self.source = dict(source or {})
        self.program = program

    @property
    def dtype(self) -> torch.dtype:
        """The network's dtype: that of its first floating-point parameter or buffer."""
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            if tensor.is_floating_point():
                return tensor.dtype
        return torch.get_default_dtype()

    @property
    def device(self) -> torch.device:
        """The network's device."""
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            return tensor.device
        return torch.device("cpu")

    def resize(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) at the network's input size; unchanged where they have it."""
        size = self.input_size[1:]
        if tuple(images.shape[-2:]) == size:
            return images
        if self.interpolation == "nearest":
            return functional.interpolate(images, size=size, mode="nearest")
        return functional.interpolate(images, size=size, mode=self.interpolation, antialias=True)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """(image - mean) / std for each channel."""
        if not any(self.mean) and all(value == 1 for value in self.std):
            return images
        mean = torch.tensor(self.mean, dtype=images.dtype, device=images.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, dtype=images.dtype, device=images.device).view(1, -1, 1, 1)
        return (images - mean) / std

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of RGB images (N, C, H, W) in [0, 1]."""
        logits: torch.Tensor = self.module(self.normalise(self.resize(images)))
        return logits

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) in evaluation mode, without gradients, on the network's device and in its dtype.

        Raises:
            ModelError: the network returns something other than one finite row of logits for each image.
        """
        flags = [(module, module.training) for module in self.modules()]
        try:
            self.eval()
            with torch.no_grad():
                answer = self(images.to(device=self.device, dtype=self.dtype))
        finally:
            for module, training in flags:
                module.training = training
        return check_logits(answer, len(images), self.name)

    def identity(self) -> dict[str, Any]:
        """What results record about the network: its name, SHA-256, preprocessing and source."""
        return {
            "name": self.name,
            "weights_sha256": weights_sha256(self.module.state_dict()),
            "input_size": list(self.input_size),
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": self.interpolation,
            "dtype": str(self.dtype).removeprefix("torch."),
            **self.source,
        }


def check_logits(answer: Any, count: int, name: str) -> torch.Tensor:
    """Check that `answer` is a finite tensor of shape (count, classes), and return it.

    Raises:
        ModelError: it is not.
    """
    if not isinstance(answer, torch.Tensor):
        raise ModelError(
            f"{name} answers with a {type(answer).__name__}, not with a tensor of logits.",
            "Wrap the network so that its forward returns logits of shape (images, classes).",
        )
    if answer.ndim != 2 or len(answer) != count:
        raise ModelError(
            f"{name} answers {count} images with shape {tuple(answer.shape)}.",
            "Logits must have shape (images, classes): flatten or select the output in a wrapper.",
        )
    finite = torch.isfinite(answer).all(1)
    if not finite.all():
        raise LogitsError(
            f"{name} answers with NaN or infinite logits.",
            "Check its weights and that mean, std and input range are those it was trained with.",
            tuple((~finite).nonzero().flatten().tolist()),
        )
    return answer
