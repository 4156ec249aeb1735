"""What an image processor of transformers does to images, as the preprocessing of a `Model`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from linbp.data.preprocessing import resized, scaled
from linbp.errors import ModelError
from linbp.models.centre_crop import CentreCrop
from linbp.models.model import Model

__all__ = ["build_model"]

_INTERPOLATIONS = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""Of Pillow's numbers, those that `Model` has."""
_NAMES = {1: "Lanczos", 4: "box", 5: "Hamming"}
_WARPED = 384
"""The shortest edge from which on ConvNeXt's processor resizes images as a whole."""

PROBES = ((48, 48), (61, 75), (90, 54))
"""Heights and widths of the images on which `check_processor` compares, as parts of the network's size in 64ths."""
TOLERANCE = 2 / 255
"""The processor rounds resized images to levels; filters of Pillow and PyTorch differ by another level at most."""


class HubClassifier(nn.Module):
    """A network of transformers as a function from normalised images to logits.

    Args:
        network: takes `pixel_values`, and answers with an object that has `logits`.
        flipped: whether it takes its channels in the order blue, green, red.
    """

    def __init__(self, network: nn.Module, *, flipped: bool = False) -> None:
        super().__init__()
        self.network, self.flipped = network, flipped

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of normalised RGB images (N, 3, H, W)."""
        answer: torch.Tensor = self.network(pixel_values=images.flip(1) if self.flipped else images).logits
        return answer


def preprocessing_of(processor: Any, name: str) -> dict[str, Any]:
    """The arguments of `Model` that do what a processor does.

    With levels x of 0 to 255, a factor f, an offset o, means m and deviations s, a processor computes
    (f x - o - m) / s; of images x / 255 in [0, 1] that is (x / 255 - (m + o) / (255 f)) / (s / (255 f)).

    Args:
        processor: an image processor of transformers.
        name: what messages call the network.

    Raises:
        ModelError: it does something that a Model does not, such as resizing to a size that depends on the image.
    """
    mean, std = _normalisation(processor)
    return {**_size(processor, name), "mean": mean, "std": std}


def _normalisation(processor: Any) -> tuple[list[float], list[float]]:
    normalised = bool(processor.do_normalize)
    mean = list(processor.image_mean) if normalised else [0.0] * 3
    std = list(processor.image_std) if normalised else [1.0] * 3
    if getattr(processor, "include_top", False):  # EfficientNet divides by the deviations once more
        std = [value * value for value in std]
    factor = 255.0 * float(processor.rescale_factor) if processor.do_rescale else 255.0
    offset = 1.0 if processor.do_rescale and getattr(processor, "rescale_offset", False) else 0.0
    return [_exact((value + offset) / factor) for value in mean], [_exact(value / factor) for value in std]


def _exact(value: float) -> float:
    """Without the last digit that 255 times 1/255 leaves."""
    return float(f"{value:.12g}")


def _size(processor: Any, name: str) -> dict[str, Any]:
    """Size, crop and interpolation."""
    refused = f"The processor of {name}, {type(processor).__name__},"
    hint = "Build the network with preprocessing of its own in file:path/model.py:function."
    if not processor.do_resize:
        raise ModelError(f"{refused} does not resize images, so that no size is known.", hint)
    interpolation = int(processor.resample)
    if interpolation not in _INTERPOLATIONS:
        raise ModelError(
            f"{refused} resizes with the filter {_NAMES.get(interpolation, interpolation)}, which linbp does not have.",
            hint,
        )
    found: dict[str, Any] = {"interpolation": _INTERPOLATIONS[interpolation]}
    size, crop = _sides(processor.size), _sides(processor.crop_size) if processor.do_center_crop else {}
    edge, share = size.get("shortest_edge"), getattr(processor, "crop_pct", None)
    if edge and share and not size.get("longest_edge"):
        if edge >= _WARPED:
            return {**found, "input_size": (3, edge, edge)}
        return {**found, **_cropped(int(edge / share), (edge, edge), refused, hint)}
    if size.get("height") and size.get("width"):
        whole = (size["height"], size["width"])
        if not crop:
            return {**found, "input_size": (3, *whole)}
        return {**found, **_cropped(whole, (crop["height"], crop["width"]), refused, hint)}
    if edge and crop and not size.get("longest_edge"):
        return {**found, **_cropped(edge, (crop["height"], crop["width"]), refused, hint)}
    raise ModelError(f"{refused} resizes images to sizes that depend on them ({size}).", hint)


def _sides(size: Any) -> dict[str, int]:
    return {key: int(value) for key, value in dict(size or {}).items() if value is not None}


def _cropped(resize: int | tuple[int, int], crop: tuple[int, int], refused: str, hint: str) -> dict[str, Any]:
    least = (resize, resize) if isinstance(resize, int) else resize
    if least[0] < crop[0] or least[1] < crop[1]:
        raise ModelError(f"{refused} fills images up: it crops {crop[1]} x {crop[0]} out of less.", hint)
    return {"input_size": (3, *crop), "resize": resize}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LowerCrop(CentreCrop):
    """A centre crop that counts halves of pixels down, as transformers does; torchvision's goes to the even number."""

    def apply(self, images: torch.Tensor, interpolation: str) -> torch.Tensor:
        """The middle of images (N, C, H, W), resized before."""
        if self.resize is not None:
            images = resized(images, scaled(images.shape[-2], images.shape[-1], self.resize), interpolation)
        (height, width), (down, across) = images.shape[-2:], self.crop
        top, left = (height - down) // 2, (width - across) // 2
        return images[..., top : top + down, left : left + across].contiguous()


def build_model(network: nn.Module, processor: Any, name: str, source: Mapping[str, Any]) -> Model:
    """A network of transformers behind its processor's preprocessing.

    Args:
        network: takes `pixel_values`, and answers with an object that has `logits`.
        processor: an image processor of transformers.
        name: what results call the network.
        source: further facts for the results.

    Raises:
        ModelError: a Model cannot do what the processor does.
    """
    flipped = bool(getattr(processor, "do_flip_channel_order", False))
    model = Model(
        HubClassifier(network, flipped=flipped), **preprocessing_of(processor, name), name=name, source=source
    )
    if model.centre_crop is not None:
        model.centre_crop = LowerCrop(crop=model.centre_crop.crop, resize=model.centre_crop.resize)
    check_processor(processor, model, flipped, name)
    return model


def check_processor(processor: Any, model: Model, flipped: bool, name: str) -> None:
    """Compare a Model's preprocessing with the processor's own, on smooth images of three shapes.

    Args:
        processor: an image processor of transformers.
        model: with the preprocessing that was read from it.
        flipped: whether the network gets its channels in the order blue, green, red.
        name: what messages call the network.

    Raises:
        ModelError: they differ by more than rounding explains.
    """
    side = max(model.input_size[1:])
    std = torch.tensor(model.std).view(1, -1, 1, 1)
    for height, width in PROBES:
        levels = _smooth(max(8, side * height // 64), max(8, side * width // 64))
        theirs = processor(levels, return_tensors="pt")["pixel_values"].float()
        ours = model.normalise(model.resize(levels.float() / 255))
        theirs = theirs.flip(1) if flipped else theirs
        if ours.shape != theirs.shape or float(((ours - theirs) * std).abs().max()) > TOLERANCE:
            raise ModelError(
                f"The processor of {name}, {type(processor).__name__}, does something to images that linbp does not "
                "know.",
                "Build the network with preprocessing of its own in file:path/model.py:function.",
            )


def _smooth(height: int, width: int) -> torch.Tensor:
    """Levels (1, 3, H, W) of an image without edges, at which filters would differ, with another slope a channel."""
    rows = torch.linspace(0, 1, height).view(1, -1, 1)
    columns = torch.linspace(0, 1, width).view(1, 1, -1)
    slopes = torch.tensor([[0.9, 0.1], [0.2, 0.8], [-0.5, 0.5]]).view(3, 2, 1, 1)
    waves = 0.5 + 0.35 * torch.sin(3 * (slopes[:, 0] * rows + slopes[:, 1] * columns))
    return (255 * waves).round().to(torch.uint8)[None]
