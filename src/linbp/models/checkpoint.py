"""Weights from files: state dicts that hold tensors, and no code."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from linbp.errors import ModelError

__all__ = [
    "existing_file",
    "file_sha256",
    "fill",
    "is_path",
    "pickled_names",
    "preserved_random_state",
    "read_checkpoint",
    "read_metadata",
]

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle", ".tar", ".npz")
"""Endings that tell a file from the name of published weights after an `@`."""


def is_path(text: str) -> bool:
    """Whether the text after `@` is the path of a file rather than the name of published weights."""
    return "/" in text or "\\" in text or text.lower().endswith(SUFFIXES)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def existing_file(path: str | Path) -> Path:
    """`path`, with `~` expanded.

    Raises:
        ModelError: there is no such file.
    """
    place = Path(path).expanduser()
    if not place.is_file():
        what = "is a folder" if place.is_dir() else "is not there"
        raise ModelError(f"The file {str(path)!r} {what}.", "Check the path; it counts from the working directory.")
    return place


def read_checkpoint(path: str | Path) -> dict[str, torch.Tensor]:
    """The state dict of a safetensors file, or of a torch file read with `weights_only=True`, on the CPU.

    A dictionary that wraps the weights under `state_dict` or `model` is unwrapped, and the `module.` that
    DataParallel puts before every name is removed.

    Raises:
        ModelError: no such file, a broken one, one that would run code when it is read, or no state dict in it.
    """
    place = existing_file(path)
    content: Any
    if place.suffix == ".safetensors":
        try:
            content = load_file(place)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{place.name} is not a readable safetensors file: {error}.", "Fetch it again.") from error
    else:
        content = _read_torch(place)
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items())
    ):
        raise ModelError(
            f"{place.name} holds no state dict (names to tensors) but a {type(content).__name__} of other things.",
            "Save the weights alone: torch.save(network.state_dict(), FILE).",
        )
    if all(name.startswith("module.") for name in content):
        content = {name.removeprefix("module."): value for name, value in content.items()}
    return dict(content)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What a checkpoint holds besides its weights: the metadata of a safetensors file, JSON in it read; or the other
    entries of a torch file.

    Raises:
        ModelError: as for `read_checkpoint`.
    """
    place = existing_file(path)
    if place.suffix != ".safetensors":
        content = _read_torch(place)
        entries = content.items() if isinstance(content, Mapping) else ()
        return {key: value for key, value in entries if isinstance(key, str)}
    with safe_open(place, "pt") as file:
        found: dict[str, Any] = dict(file.metadata() or {})
    for key, text in found.items():
        with contextlib.suppress(ValueError):
            found[key] = json.loads(text)
    return found


def _read_torch(place: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # torch warns that it may not read other pickle protocols; it then reads them, or raises.
            warnings.simplefilter("ignore")
            return torch.load(place, map_location="cpu", weights_only=True)
    # A broken pickle may raise anything.
    except Exception as error:
        if wanted := pickled_names(error):
            raise ModelError(
                f"{place.name} was refused: reading it would run Python code ({wanted}).",
                "Only tensors are read (weights_only=True). Save network.state_dict(), or a .safetensors file.",
            ) from error
        if "TorchScript" in str(error):
            raise ModelError(
                f"{place.name} was refused: it is a TorchScript program, which is code and no checkpoint.",
                "Save network.state_dict() for weights, or export the network to a .pt2 or .onnx file.",
            ) from error
        raise ModelError(
            f"{place.name} cannot be read as a checkpoint: {_first_line(error)}",
            "Save network.state_dict() with torch.save, or use a .safetensors file.",
        ) from error


def pickled_names(error: Exception) -> str:
    """What a file that `weights_only=True` refused would have called, such as `posix.system`; empty if nothing."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error)) or re.search(r"global:? ([\w]+\.[\w.]+)", str(error))
    if found:
        return found.group(1)
    return "unsupported pickle instructions" if "Unsupported operand" in str(error) else ""


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".") + "."


def fill(module: nn.Module, state: Mapping[str, torch.Tensor], what: str) -> None:
    """Load `state` into `module`; every tensor has to fit, and none may be left over.

    The counters of batch norms may be missing: checkpoints from before torch 0.4.1 lack them; nothing uses them.

    Args:
        module: the network.
        state: its state dict.
        what: what the error calls the weights.

    Raises:
        ModelError: names or shapes do not fit, with the first ones that do not.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    extra = [name for name in state if name not in own]
    other = [
        f"{name} is {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    faults = [
        f"{len(found)} {word} ({'; '.join(found[:3])}{'; ...' if len(found) > 3 else ''})"
        for word, found in (("missing", missing), ("left over", extra), ("of another shape", other))
        if found
    ]
    if faults:
        raise ModelError(
            f"{what} does not fit {type(module).__name__}, of its {len(own)} tensors: " + ", ".join(faults) + ".",
            "Name the network it was trained with; build one with other layers or classes in file:model.py:function.",
        )
    module.load_state_dict(dict(state), strict=False)


@contextlib.contextmanager
def preserved_random_state() -> Iterator[None]:
    """Seed torch's CPU generator with 0 inside, and restore its state afterwards.

    Building a network draws its initial weights. Inside, the same network always gets the same ones.
    """
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would seed the accelerators' generators too.
        torch.default_generator.manual_seed(0)
        yield
