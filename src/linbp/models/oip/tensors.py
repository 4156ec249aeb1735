"""The input and the outputs of a served model: what its server says, and what a sidecar adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from linbp.errors import ModelError
from linbp.models.oip.sidecar import DTYPES, Sidecar

__all__ = ["TORCH", "Tensors", "read_tensors"]

TORCH = dict(zip(DTYPES, (torch.float32, torch.float16, torch.float64, torch.uint8), strict=True))

CHANNELS = 3


@dataclass(frozen=True, kw_only=True)
class Tensors:
    """What a model takes and gives.

    Attributes:
        input: the input's name.
        dtype: of the input, one of `DTYPES`.
        channels_last: whether images are (height, width, channels).
        size: (channels, height, width), or None where any size will do.
        batch: a fixed number of images in a request, or None.
        outputs: the names of the outputs that answer; empty: the only one there is.
    """

    input: str
    dtype: str
    channels_last: bool
    size: tuple[int, int, int] | None
    batch: int | None
    outputs: tuple[str, ...]


def read_tensors(metadata: Mapping[str, Any], sidecar: Sidecar, model: str) -> Tensors:
    """The tensors of a model.

    Args:
        metadata: of the model, as the protocol has it; it may leave out inputs, outputs and shapes.
        sidecar: what the user says.
        model: what messages call it.

    Raises:
        ModelError: it takes no images, the two contradict each other, or together they do not tell enough.
    """
    entry = _input(_entries(metadata, "inputs"), sidecar, model)
    named = f"The input {entry['name']} of {model}"
    dtype = _dtype(entry, sidecar, named)
    shape = [int(length) for length in entry.get("shape") or ()]
    if shape and len(shape) != 4:
        raise ModelError(
            f"{named} has shape {_shape(shape)}, and a batch of images has four axes.",
            "Serve it with an input (N, 3, H, W) or (N, H, W, 3).",
        )
    last = _channels_last(shape, sidecar, named)
    batch, *lengths = [length if length > 0 else None for length in shape or [-1] * 4]
    channels, height, width = (lengths[2], *lengths[:2]) if last else lengths
    if channels not in (None, CHANNELS):
        raise ModelError(
            f"{named} has shape {_shape(shape)}: {channels} channel{'s' if channels > 1 else ''}, and images are RGB.",
            "Serve it behind a layer that makes its channels out of three.",
        )
    wanted = sidecar.input_size
    if wanted is None and (height is None) != (width is None):
        side = height or width
        raise ModelError(
            f"{named} has shape {_shape(shape)}, of which one side is free.",
            _write(f'"input_size": [3, {height or side}, {width or side}]'),
        )
    for fixed, asked in zip((CHANNELS, height, width), wanted or (), strict=False):
        if fixed not in (None, asked):
            raise ModelError(
                f"{named} has shape {_shape(shape)}, and the JSON file says input_size {list(wanted)}.",
                _write(f'"input_size": [3, {height or asked}, {width or asked}]') + " Or leave it out.",
            )
    return Tensors(
        input=entry["name"],
        dtype=dtype,
        channels_last=last,
        size=wanted or (None if height is None or width is None else (CHANNELS, height, width)),
        batch=batch,
        outputs=_outputs(_entries(metadata, "outputs"), sidecar, model),
    )


def _entries(metadata: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = metadata.get(key) or []
    return [entry for entry in found if isinstance(entry, Mapping) and entry.get("name")]


def _input(entries: Sequence[Mapping[str, Any]], sidecar: Sidecar, model: str) -> Mapping[str, Any]:
    """The entry of the input that takes the images."""
    if not entries:
        if sidecar.input and sidecar.dtype and sidecar.layout:
            return {"name": sidecar.input, "datatype": sidecar.dtype}
        raise ModelError(
            f"The server does not say what {model} takes.",
            _write('"input": "NAME", "dtype": "FP32", "layout": "NCHW", "input_size": [3, 224, 224], "output": "NAME"'),
        )
    listed = ", ".join(_words(entry) for entry in entries[:8])
    if sidecar.input is None and len(entries) > 1:
        raise ModelError(
            f"{model} has {len(entries)} inputs: {listed}.",
            "Serve a model that takes one batch of images; others' values are not known.",
        )
    chosen = [entry for entry in entries if sidecar.input in (None, entry["name"])]
    if not chosen:
        raise ModelError(f"{model} has no input {sidecar.input!r}.", f"It has: {listed}.")
    return chosen[0]


def _dtype(entry: Mapping[str, Any], sidecar: Sidecar, named: str) -> str:
    given = str(entry.get("datatype") or sidecar.dtype or "")
    if given == "BYTES":
        raise ModelError(
            f"{named} is BYTES, such as encoded pictures, and images are sent as tensors.",
            "Serve it with a tensor of pixels as input; or ask it in a file of your own, file:service.py:service "
            "(docs/victims.md).",
        )
    if given not in DTYPES:
        raise ModelError(
            f"{named} is {given or 'of a type that the server does not say'}, and images are {', '.join(DTYPES)}.",
            "Serve it with such an input." if given else _write('"dtype": "FP32"'),
        )
    if sidecar.dtype not in (None, given):
        raise ModelError(f"{named} is {given}, and the JSON file says {sidecar.dtype}.", _write(f'"dtype": "{given}"'))
    if given == "UINT8" and (sidecar.mean is not None or sidecar.std is not None):
        raise ModelError(
            f"{named} is UINT8, levels of 0 to 255, so that nothing can be normalised.",
            "Take mean and std out of the JSON file.",
        )
    return given


def _channels_last(shape: Sequence[int], sidecar: Sidecar, named: str) -> bool:
    """Whether the channels are the last axis, which only three of them can tell."""
    told = sidecar.layout
    if not shape:
        return told == "NHWC"
    first, last = shape[1] in (1, CHANNELS), shape[3] in (1, CHANNELS)
    if told is None and first == last:
        raise ModelError(
            f"{named} has shape {_shape(shape)}, which does not say which axis is the channels.",
            _write('"layout": "NCHW", "input_size": [3, 224, 224]'),
        )
    if told is not None:
        if shape[3 if told == "NHWC" else 1] not in (-1, 0, 1, CHANNELS):
            raise ModelError(
                f"{named} has shape {_shape(shape)}, and the JSON file says {told}.",
                _write(f'"layout": "{"NCHW" if told == "NHWC" else "NHWC"}"'),
            )
        return told == "NHWC"
    return last


def _outputs(entries: Sequence[Mapping[str, Any]], sidecar: Sidecar, model: str) -> tuple[str, ...]:
    """The outputs that answer; none where the server names none."""
    names = [str(entry["name"]) for entry in entries]
    listed = ", ".join(_words(entry) for entry in entries[:8])
    wanted = (sidecar.output,) if isinstance(sidecar.output, str) else tuple(sidecar.output or ())
    for name in wanted:
        if names and name not in names:
            raise ModelError(f"{model} has no output {name!r}.", f"It has: {listed}.")
    if not wanted:
        if len(names) > 1 and "logits" not in names:
            raise ModelError(
                f"{model} has {len(names)} outputs, none called logits: {listed}.",
                _write(f'"output": "{names[0]}"') + ' (for classes with scores: "answers": "top-k" and two outputs).',
            )
        wanted = ("logits",) if len(names) > 1 else tuple(names)
    kinds = {str(entry["name"]): str(entry.get("datatype") or "") for entry in entries}
    if sidecar.answers == "scores" and wanted and kinds.get(wanted[0]) == "BYTES":
        raise ModelError(
            f"The output {wanted[0]} of {model} is BYTES, names and no scores.",
            _write('"answers": "labels", "classes": ["NAME", ...]'),
        )
    return wanted


def _words(entry: Mapping[str, Any]) -> str:
    return f"{entry['name']} {entry.get('datatype') or '?'} {_shape(entry.get('shape') or ())}"


def _shape(shape: Sequence[Any]) -> str:
    """A shape with a question mark for what is free."""
    return f"({', '.join('?' if int(length) <= 0 else str(length) for length in shape)})"


def _write(fields: str) -> str:
    return f"Write {{{fields}}} into a JSON file, and name the model oip:URL@FILE.json."
