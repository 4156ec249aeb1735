"""A network with its preprocessing: RGB images in [0, 1] go in, logits come out."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from linbp.data.preprocessing import resized
from linbp.errors import ModelError
from linbp.models.centre_crop import CentreCrop, read_crop
from linbp.models.evaluation_mode import evaluation_mode
from linbp.models.identity import loose_tensors, network_hashes
from linbp.models.logits import check_logits, select_logits
from linbp.models.plain_mode import plain_mode
from linbp.models.preprocessing import read_preprocessing
from linbp.models.wrappers import unwrap

__all__ = ["Model"]


class Model(nn.Module):
    """Any network as a function of RGB images: resize, normalise, logits.

    Images of another size than the network's are resized as a whole (no crop: every pixel of the image counts), with
    antialiasing, and then normalised as `(image - mean) / std`. With `resize=256`, the shorter side becomes 256 and the
    middle is kept, as torchvision's `Resize(256, antialias=True)` and `CenterCrop` do.

    Args:
        module: takes a normalised batch (N, 3, H, W) and returns logits (N, classes), or a
            mapping or an object that has them as `logits`. It is in evaluation mode only
            while it runs; its hooks and flags stay as they are. `DataParallel` and `torch.compile` are taken off.
        input_size: (channels, height, width) that the module takes; one number is the side of a square RGB image.
        mean: of each channel, on the scale of [0, 1], or one number for all.
        std: of each channel, on the scale of [0, 1], or one number for all: 1/255 for a network that takes levels.
        interpolation: `bilinear`, `bicubic` or `nearest`.
        resize: what images are resized to before the middle is kept: the shorter side, or (height, width).
        crop: (height, width) of the middle, or the side of a square: always what the network takes. Without `resize`,
            images are cropped as they are; with it, there is no need to say it.
        name: what results call the network.
        source: further facts for the results, such as the checkpoint's file and hash.
        program: the exported program that `module` was unpacked from, where there is one.

    Raises:
        ModelError: it is no module, the size, crop, mean or standard deviation is not possible, or it has no weights
            yet.

    Attributes:
        centre_crop: how images are resized and cropped; None: they are resized as a whole.
    """

    differentiable = True
    dynamic_batch = True
    """Whether the network takes any batch size; an exported program may not."""
    turns = 1
    """How many versions of its weights take turns in an attack, one a step; of an ordinary network, its only one."""
    own_turn: int | None = 0
    """Whose turn it is when this network itself is asked; None: of none of them."""
    alone: Path | None = None
    """Where several versions take turns: the file of one network that stands for them."""
    class_names: tuple[str, ...] = ()
    """The names of the classes, in the order of the logits, where the source has them."""
    selects = False
    """Whether the network has answered with more than logits, of which the entry `logits` was taken."""
    published_crop: CentreCrop | None = None
    """How those who trained the weights resize and crop photographs, where the source says it: used only on demand."""

    def __init__(
        self,
        module: nn.Module,
        *,
        input_size: Sequence[int] | int,
        mean: Sequence[float] | float = 0.0,
        std: Sequence[float] | float = 1.0,
        interpolation: str = "bilinear",
        resize: Sequence[int] | int | None = None,
        crop: Sequence[int] | int | None = None,
        name: str | None = None,
        source: Mapping[str, Any] | None = None,
        program: torch.export.ExportedProgram | None = None,
    ) -> None:
        super().__init__()
        size, means, deviations = read_preprocessing(input_size, mean, std, interpolation)
        _refuse_other_things(module)
        module = unwrap(module)
        _refuse_empty(module)
        self.module = module
        self.input_size, self.mean, self.std = size, means, deviations
        self.interpolation = interpolation
        self.centre_crop = read_crop(size[1:], resize, crop)
        self.name = name or type(module).__name__
        self.source = dict(source or {})
        self.program = program
        self._loose = frozenset(loose_tensors(module))

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
        """Images (N, C, H, W) at the network's input size, the middle of them if the model crops.

        Raises:
            ModelError: they are smaller than a crop without resizing.
        """
        if self.centre_crop is not None:
            return self.centre_crop.apply(images, self.interpolation)
        return resized(images, self.input_size[1:], self.interpolation)

    def with_crop(self, crop: CentreCrop | None) -> Model:
        """The same network behind another centre crop, or behind none; itself where nothing changes."""
        if crop == self.centre_crop:
            return self
        other = copy.copy(self)
        other.centre_crop = crop
        return other

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """(image - mean) / std for each channel."""
        if not any(self.mean) and all(value == 1 for value in self.std):
            return images
        mean = torch.tensor(self.mean, dtype=images.dtype, device=images.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, dtype=images.dtype, device=images.device).view(1, -1, 1, 1)
        return (images - mean) / std

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of RGB images (N, C, H, W) in [0, 1]."""
        ready = self.normalise(self.resize(images))
        if ready is images:
            ready = images.clone()  # the module may write over its input
        answer = self.module(ready)
        logits: torch.Tensor = select_logits(answer)
        if logits is not answer:
            self.selects = True
        return logits

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) in evaluation mode, without gradients, on the network's device and in its dtype.

        Raises:
            ModelError: the network returns something other than one finite row of logits for each image.
        """
        with evaluation_mode(self) as model, plain_mode(), torch.no_grad():
            answer = model(images.to(device=self.device, dtype=self.dtype))
        return check_logits(answer, len(images), self.name)

    @property
    def preprocessing_arguments(self) -> dict[str, Any]:
        """The arguments that give another Model the same preprocessing, as JSON holds them."""
        return {
            "input_size": list(self.input_size),
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": self.interpolation,
            **({} if self.centre_crop is None else self.centre_crop.facts()),
        }

    def count_classes(self) -> int:
        """How many classes the network has: as many as logits of a black image.

        Raises:
            ModelError: as for `logits`.
        """
        return int(self.logits(torch.zeros(1, *self.input_size, dtype=self.dtype)).shape[1])

    def of_turn(self, number: int) -> Model:
        """The network with the weights of one turn, counted from 0."""
        return self

    def identity(self) -> dict[str, Any]:
        """What results record about the network: its name, hashes, preprocessing and source.

        `weights_sha256` covers every tensor, in the state dict or not; `network_sha256` covers settings, hooks, and the
        code of the user's own files that the network reaches. A program has its file's hash instead.
        """
        weights, network = network_hashes(self.module, self._loose)
        return {
            "name": self.name,
            "weights_sha256": weights,
            **({} if self.program is not None else {"network_sha256": network}),
            **self.preprocessing_arguments,
            "dtype": str(self.dtype).removeprefix("torch."),
            **self.source,
        }


def _refuse_other_things(module: Any) -> None:
    """Refuse what is no module.

    Raises:
        ModelError: it is a class, a name, a function or anything else.
    """
    if isinstance(module, nn.Module):
        return
    if isinstance(module, type) and issubclass(module, nn.Module):
        what, hint = f"the class {module.__name__}", f"Build it: linbp.Model({module.__name__}(...), ...)."
    elif isinstance(module, str):
        what, hint = f"the text {module!r}", "Load a network by its name with linbp.load_model(...)."
    elif callable(module):
        what = "a function"
        hint = "Call it in the forward of a torch.nn.Module that holds its weights; linbp.evaluate takes it as it is."
    else:
        what, hint = f"an object of type {type(module).__name__}", "Give the network itself."
    raise ModelError(f"linbp.Model takes a torch.nn.Module, not {what}.", hint)


def _refuse_empty(module: nn.Module) -> None:
    """Refuse layers that have no weights yet.

    Raises:
        ModelError: there are such layers.
    """
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor):
            raise ModelError(
                f"{type(module).__name__} is not built yet: {name} has no shape before the network has run.",
                "Run the network once on a batch of images, and load its weights, before linbp gets it.",
            )
        if tensor.device.type == "meta":
            raise ModelError(
                f"{type(module).__name__} has no weights: {name} is on the meta device.",
                "Give it memory (module.to_empty(device='cpu')) and load its weights, before linbp gets it.",
            )
