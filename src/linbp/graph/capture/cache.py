"""A cache of exported programs on disk, keyed by the content of the module."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.export import ExportedProgram

from linbp.data.cache_folder import cache_folder

__all__ = ["load", "load_number", "store", "store_number"]


def load(key: str, module: nn.Module) -> ExportedProgram | None:
    """The stored program with the module's own parameters and buffers, or None if none fits."""
    try:
        path = cache_folder() / f"{key}.pt2"
        if not path.is_file():
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(path)
        state = dict(module.state_dict(keep_vars=True))
        if set(program.state_dict) != set(state):
            return None
        program._state_dict = state
        return program
    except Exception:  # a damaged or unreadable file counts as missing: the program is exported again
        return None


def store(key: str, program: ExportedProgram) -> None:
    """Store a program without its weights; a cache that cannot be written is not an error."""
    weights = program._state_dict
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        program._state_dict = {name: _hollow(tensor) for name, tensor in weights.items()}
        with tempfile.TemporaryDirectory(dir=folder) as temporary, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = Path(temporary) / "program.pt2"
            torch.export.save(program, path)
            os.replace(path, folder / f"{key}.pt2")
    except Exception:  # some programs cannot be saved, and a full disk must not stop an attack
        return
    finally:
        program._state_dict = weights


def load_number(key: str) -> float | None:
    """A number that `store_number` stored, or None."""
    try:
        return float((cache_folder() / f"{key}.txt").read_text())
    except (OSError, ValueError):
        return None


def store_number(key: str, number: float) -> None:
    """Store a number; a cache that cannot be written is not an error."""
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
            file.write(repr(number))
        os.replace(file.name, folder / f"{key}.txt")
    except OSError:
        return


def _hollow(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the same shape that takes no space on disk."""
    hollow = torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
    return nn.Parameter(hollow, requires_grad=False) if isinstance(tensor, nn.Parameter) else hollow
