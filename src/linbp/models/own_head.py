"""Checkpoints of the user's own classes: how many the head has, what they are called, and other preprocessing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from linbp.data.class_file import class_names_in, read_class_names
from linbp.errors import ImageError, ModelError
from linbp.models.checkpoint import read_metadata
from linbp.models.sidecar import PREPROCESSING, read_sidecar

__all__ = ["changed_head", "class_names_beside", "head_size", "preprocessing_beside"]

NAMES = "classes.txt"


def head_size(state: Mapping[str, torch.Tensor], layers: str | Sequence[str]) -> int | None:
    """How many classes a checkpoint's head has; None where none of the layers is there.

    Args:
        state: the state dict.
        layers: the names of the network's last layer, or of several.
    """
    for layer in [layers] if isinstance(layers, str) else layers:
        for tensor in (state.get(f"{layer}.weight"), state.get(f"{layer}.bias")):
            if tensor is not None and tensor.ndim:
                return len(tensor)
    return None


def changed_head(network: nn.Module, classes: int, state: Mapping[str, torch.Tensor]) -> int | None:
    """How many classes a checkpoint's head has, where only the head's size tells it from a network's.

    Args:
        network: with the usual number of classes; it may be on the meta device.
        classes: that number.
        state: the state dict.

    Returns:
        None where the head is the network's, or tensors of more than the head differ.
    """
    own = network.state_dict()
    pairs = [(own[name].shape, tensor.shape) for name, tensor in state.items() if name in own]
    other = [(ours, theirs) for ours, theirs in pairs if ours != theirs]
    sizes = {theirs[0] for _, theirs in other if len(theirs)}
    heads = all(len(ours) == len(theirs) and ours[0] == classes and ours[1:] == theirs[1:] for ours, theirs in other)
    return sizes.pop() if heads and len(sizes) == 1 else None


def class_names_beside(path: str | Path, classes: int) -> tuple[str, ...]:
    """The names of a checkpoint's classes: in it, in `FILE.json`, or in `classes.txt` beside it; empty without.

    Raises:
        ModelError: there is another number of them.
    """
    place = Path(path).expanduser()
    aside, listed = place.with_suffix(".json"), place.with_name(NAMES)
    try:
        where, found = place, class_names_in(read_metadata(place), place.name)
        if not found and aside.is_file():
            where, found = aside, class_names_in(_object(aside), aside.name)
        if not found and listed.is_file():
            where, found = listed, read_class_names(listed)
    except ImageError as error:
        raise ModelError(error.message, error.hint) from error
    if found and len(found) != classes:
        raise ModelError(
            f"{where.name} names {len(found)} classes, and the head of {place.name} has {classes}.",
            f"Correct it, or move it elsewhere if it belongs to another network than {place.name}.",
        )
    return found


def preprocessing_beside(path: str | Path) -> dict[str, Any]:
    """Arguments of `Model` in the `FILE.json` beside a checkpoint, as beside an exported network; empty without.

    Raises:
        ModelError: as for `read_sidecar`.
    """
    place = Path(path).expanduser()
    content = _object(place.with_suffix(".json")) if place.with_suffix(".json").is_file() else {}
    wanted = ("input_size", *PREPROCESSING)
    if not isinstance(content, dict) or not any(name in content for name in wanted):
        return {}
    found = read_sidecar(place)
    return {name: found[name] for name in wanted if name in found}


def _object(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):  # a file of another program
        return {}
