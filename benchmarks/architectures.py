"""Every classifier of timm, torchvision and transformers with random weights, at a small input.

Weights are drawn by the libraries' own constructors, from one seed. What hides a branch at the start of a training is
then drawn too: a zero that a block begins with, or LayerScale's 1e-6, would make any gradient of that branch right.
Batch norms get the statistics of images like those that the networks are compared on, so that activations neither
vanish nor explode: where they explode, gates behind them turn float32's rounding into other logits.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

CLASSES = 10
SHARED = 400_000_000
"""Parameters: in larger networks, weights of one shape share their memory."""
LARGE = 2**16
"""Elements of a weight that may share it."""
MEAN, STD = 0.5, 0.25
"""What images in [0, 1] are normalised with."""
SIDES = (64, 96)
"""The sides that are tried in front of an architecture's own one, in px."""

Try = tuple[int, Callable[[], nn.Module]]
"""A side, and a constructor of the network for it."""


@dataclass(frozen=True)
class Architecture:
    """One name of a library.

    Attributes:
        library: `timm`, `torchvision` or `transformers`.
        name: as the library's constructor takes it.
        family: the module of the library that defines it.
    """

    library: str
    name: str
    family: str


@dataclass(frozen=True)
class Built:
    """A network with random weights, in evaluation mode.

    Attributes:
        module: takes (N, 3, side, side) and returns (N, 10).
        side: in px.
        parameters: their number; those that share memory are counted each.
    """

    module: nn.Module
    side: int
    parameters: int


class Logits(nn.Module):
    """A classifier of transformers that takes images and returns logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of images (N, 3, H, W)."""
        answer = self.network(pixel_values=images)
        logits: torch.Tensor = answer.logits if "logits" in answer else answer.last_hidden_state  # of PP-LCNet
        return logits


def architectures(library: str) -> list[Architecture]:
    """Every classifier of a library, in the library's order."""
    if library == "timm":
        import timm
        from timm.models import model_entrypoint

        families = {name: model_entrypoint(name).__module__.rpartition(".")[2] for name in timm.list_models()}
    elif library == "torchvision":
        import torchvision

        models = torchvision.models
        builders = {name: models.get_model_builder(name) for name in models.list_models(module=models)}
        families = {name: builder.__module__.rpartition(".")[2] for name, builder in builders.items()}
    else:
        from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as known

        families = {name: name for name in known if name != "timm_wrapper"}  # which has no networks of its own
    return [Architecture(library, name, family) for name, family in families.items()]


def count_parameters(architecture: Architecture) -> int | None:
    """How many parameters it has, found without memory for them; None where its constructor needs their values."""
    try:
        with torch.device("meta"):
            return sum(one.numel() for one in _tries(architecture)[-1][1]().parameters())
    except Exception:  # some constructors compute with their buffers
        return None


def build(architecture: Architecture, shared: bool = False) -> Built:
    """The network at the smallest side that it takes: 64 px, 96 px, or its own one.

    Args:
        architecture: what to build.
        shared: let weights of one shape share their memory.

    Raises:
        Exception: whatever its constructor, or its forward at its own side, raises.
    """
    fault: Exception | None = None
    for side, make in _tries(architecture):
        try:
            torch.manual_seed(0)
            with SharedMemory() if shared else contextlib.nullcontext():
                module = make().eval()
            _draw_what_is_hidden(module, shared)
            _calibrate(module, side)
            with torch.no_grad():
                logits = module(torch.rand(2, 3, side, side))
            if not isinstance(logits, torch.Tensor) or logits.shape != (2, CLASSES):
                raise ValueError(f"it answers two images of {side} px with {getattr(logits, 'shape', type(logits))}")
            return Built(module, side, sum(one.numel() for one in module.parameters()))
        except Exception as error:  # a side that it does not take
            fault = error
    assert fault is not None
    raise fault


def _tries(architecture: Architecture) -> list[Try]:
    """How an architecture may be built, its own side last."""
    return {"timm": _timm, "torchvision": _torchvision, "transformers": _transformers}[architecture.library](
        architecture.name
    )


def _timm(name: str) -> list[Try]:
    import timm

    config = timm.get_pretrained_cfg(name)
    make = functools.partial(timm.create_model, name, num_classes=CLASSES)
    own, least = config.input_size[1], max(config.min_input_size or (0,))
    found: list[Try] = []
    for side in dict.fromkeys(max(side, least) for side in SIDES):
        found += [] if config.fixed_input_size else [(side, make)]
        found.append((side, functools.partial(make, img_size=side)))
    return [*(one for one in found if one[0] < own), (own, make)]


def _torchvision(name: str) -> list[Try]:
    import torchvision

    models = torchvision.models
    own = next(iter(models.get_model_weights(name))).transforms().crop_size[0]
    heads = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    make = functools.partial(models.get_model, name, num_classes=CLASSES, **heads)
    if name.startswith("vit"):
        sides = (70, 98) if name.endswith("14") else SIDES  # multiples of a patch
        return [*((side, functools.partial(make, image_size=side)) for side in sides), (own, make)]
    return [*((side, make) for side in SIDES), (own, make)]


def _transformers(name: str) -> list[Try]:
    import transformers

    def make(side: int | None) -> nn.Module:
        config = transformers.AutoConfig.for_model(name, num_labels=CLASSES)
        config.architectures = config.architectures or []  # where one name has several classes, they are asked for
        vision = getattr(config, "vision_config", config)
        if side is not None and hasattr(vision, "image_size"):
            vision.image_size = side if isinstance(vision.image_size, int) else type(vision.image_size)((side, side))
        return Logits(transformers.AutoModelForImageClassification.from_config(config))

    config = transformers.AutoConfig.for_model(name)
    own = getattr(getattr(config, "vision_config", config), "image_size", 224)
    own = own if isinstance(own, int) else own[0]
    return [*((side, functools.partial(make, side)) for side in SIDES), (own, functools.partial(make, None))]


def _draw_what_is_hidden(module: nn.Module, shared: bool) -> None:
    """Add noise to parameters of one value; where memory is shared, draw the large ones again."""
    draw, drawn = torch.Generator().manual_seed(1), set[int]()
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = max(1, parameter[0].numel()) if parameter.ndim > 1 else 1
            if shared and parameter.numel() >= LARGE:
                # constructors have divided the same memory again and again
                if parameter.data_ptr() not in drawn:
                    drawn.add(parameter.data_ptr())
                    parameter.normal_(std=1 / math.sqrt(fan_in), generator=draw)
            elif parameter.is_floating_point() and parameter.numel() and bool(parameter.min() == parameter.max()):
                noise = torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype)
                parameter.add_(0.1 * noise / (math.sqrt(fan_in) if parameter.ndim > 1 else 1))


def _calibrate(module: nn.Module, side: int) -> None:
    """Give batch norms the statistics of smooth noise; of no channel a far smaller variance than of the others."""
    norms = [one for one in module.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    norms = [one for one in norms if one.track_running_stats and one.running_var is not None]
    if not norms:
        return
    momenta = [one.momentum for one in norms]
    coarse = torch.rand(32, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    images = nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
    images = (images * torch.linspace(1, 0.5, 32).view(-1, 1, 1, 1) - MEAN) / STD
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        module(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
        assert norm.running_var is not None
        norm.running_var.clamp_(min=0.3 * float(norm.running_var.mean()))


class SharedMemory(TorchFunctionMode):
    """Inside, large weights of one shape are one piece of memory, which is drawn once."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[Any, torch.Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        if func is torch.empty:
            sizes = args[0] if args and not isinstance(args[0], int) else args
            shape = tuple(int(size) for size in sizes)
            if math.prod(shape) >= LARGE and len(shape) > 1:
                key = shape, str(options.get("dtype"))
                if key not in self._known:
                    self._known[key] = func(*args, **options)
                return self._known[key].detach()
        name = getattr(func, "__name__", "")
        drawn = args and name in ("normal_", "uniform_", "erfinv_") and isinstance(args[0], torch.Tensor)
        if drawn and any(args[0].data_ptr() == one.data_ptr() for one in self._known.values()):
            return args[0]  # drawn when the network is built
        return func(*args, **options)
