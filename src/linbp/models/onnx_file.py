"""What an ONNX file says about its input, its outputs and the files that its weights lie in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from linbp.errors import ModelError

__all__ = ["ImageInput", "choose_output", "external_files", "read_input"]

_DTYPES = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
    "tensor(uint8)": torch.uint8,
}

_LOCATION = re.compile(rb"\n\x08location\x12([\x01-\x7f]|[\x80-\xff][\x01-\x7f])")
"""The key of a tensor's place outside the file, and the length of the name that follows."""


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """The input of an ONNX file.

    Attributes:
        name: of the input.
        dtype: of its tensor; uint8 takes levels of 0 to 255.
        batch: its fixed number of images, or None.
        size: (channels, height, width), or None where any size will do.
        channels_last: whether images are (height, width, channels).
    """

    name: str
    dtype: torch.dtype
    batch: int | None
    size: tuple[int, int, int] | None
    channels_last: bool


def read_input(inputs: Sequence[Any], network: str, sidecar: Mapping[str, Any]) -> ImageInput:
    """The one input of a file.

    Args:
        inputs: what onnxruntime's session lists.
        network: what messages call the file.
        sidecar: what the JSON file beside it says.

    Raises:
        ModelError: several inputs, or one that is no batch of RGB images.
    """
    beside = str(Path(network).with_suffix(".json"))
    if len(inputs) != 1:
        listed = ", ".join(f"{entry.name} {_shape(entry.shape)}" for entry in inputs[:8])
        raise ModelError(
            f"{network} has {len(inputs)} inputs: {listed}.",
            "Export a network that takes one batch of images (N, 3, H, W), and holds what else it needs as constants.",
        )
    (entry,) = inputs
    named = f"The input {entry.name} of {network}"
    if entry.type not in _DTYPES:
        raise ModelError(
            f"{named} is {entry.type}, and images are floats or uint8.",
            "Export it with a float32 input; quantised networks take floats and quantise inside.",
        )
    given = [length if isinstance(length, int) and length > 0 else None for length in entry.shape]
    if len(given) != 4:
        raise ModelError(
            f"{named} has shape {_shape(entry.shape)}.", "Export it with an input of four axes, (N, 3, H, W)."
        )
    last = given[3] in (1, 3) and given[1] not in (1, 3)
    batch, channels, height, width = (given[0], given[3], given[1], given[2]) if last else given
    if channels not in (None, 3):
        grey = channels == 1
        raise ModelError(
            f"{named} has shape {_shape(entry.shape)}: {channels} channel{'' if grey else 's'}, and images are RGB.",
            "Export it behind a layer that makes one channel out of three, such as "
            "x @ [0.299, 0.587, 0.114] over the channels."
            if grey
            else "Export a network that takes (N, 3, H, W) or (N, H, W, 3).",
        )
    wanted = sidecar.get("input_size")
    if wanted is None and (height is None) != (width is None):
        side = height or width
        raise ModelError(
            f"{named} has shape {_shape(entry.shape)}, of which one side is free.",
            f'Write the size into {beside}: {{"input_size": [3, {height or side}, {width or side}]}}.',
        )
    for fixed, asked in zip((3, height, width), wanted or (), strict=False):
        if fixed not in (None, asked) and wanted is not None:
            raise ModelError(
                f"{beside} says input_size {list(wanted)}, and {network} takes {_shape(entry.shape)}.",
                f'Write "input_size": [3, {height or asked}, {width or asked}], or leave it out.',
            )
    size = wanted or (None if height is None or width is None else (3, height, width))
    return ImageInput(name=entry.name, dtype=_DTYPES[entry.type], batch=batch, size=size, channels_last=last)


def choose_output(outputs: Sequence[Any], network: str, wanted: str | None) -> str:
    """The name of the output that holds the logits.

    Args:
        outputs: what onnxruntime's session lists.
        network: what messages call the file.
        wanted: the name that the user gave, or None.

    Raises:
        ModelError: there is none of that name, or several and none is called `logits`.
    """
    names = [str(entry.name) for entry in outputs]
    listed = ", ".join(f"{entry.name} {_shape(entry.shape)}" for entry in outputs[:8])
    if wanted is not None and wanted not in names:
        raise ModelError(f"{network} has no output {wanted!r}.", f"It has: {listed}.")
    chosen = wanted or (names[0] if len(names) == 1 else "logits" if "logits" in names else None)
    if chosen is None:
        matrices = [str(entry.name) for entry in outputs if len(entry.shape or ()) == 2]
        raise ModelError(
            f"{network} has {len(names)} outputs, none called logits: {listed}.",
            f"Write into {Path(network).with_suffix('.json')} which one holds them, such as "
            f'{{"output": "{(matrices or names)[0]}"}}.',
        )
    kind = next(entry.type for entry in outputs if entry.name == chosen)
    if not kind.startswith("tensor("):
        raise ModelError(
            f"The output {chosen} of {network} is {kind}, no tensor.",
            "Export it with one tensor of scores, (N, classes): for scikit-learn's networks with zipmap=False.",
        )
    return chosen


def external_files(path: Path) -> list[str]:
    """The names of the files that hold an ONNX file's weights, as it says itself, sorted."""
    content, names = path.read_bytes(), set()
    for found in _LOCATION.finditer(content):
        low, *high = found.group(1)
        length = (low & 0x7F) + (high[0] << 7 if high else 0)
        name = content[found.end() : found.end() + length]
        names.add(name.decode(errors="surrogateescape"))
    return sorted(names)


def _shape(shape: Sequence[Any] | None) -> str:
    """A shape with a question mark for what is free and has no name."""
    return f"({', '.join('?' if length is None else str(length) for length in shape or ())})"
