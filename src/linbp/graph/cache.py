"""Captured programs on disk, found by the content that made them."""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from torch import nn
from torch.export import ExportedProgram

from linbp.version import __version__

__all__ = ["cache_folder", "content_key", "load", "store"]


def cache_folder() -> Path:
    """Where programs are kept: `$LINBP_CACHE`, else `linbp` in `$XDG_CACHE_HOME` or in `~/.cache`."""
    chosen = os.environ.get("LINBP_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "linbp"


def content_key(module: nn.Module, shape: tuple[int, ...]) -> str | None:
    """SHA-256 of everything known to shape a module's program, or None where a class has no source to read.

    In it: versions, the input's shape, the tree of modules with their settings, the names, shapes and dtypes of
    parameters and buffers, and the text of every source file that a module's class comes from. Weights are not: a
    program is stored without them.
    """
    digest = hashlib.sha256()
    facts = [torch.__version__, __version__, sys.version, str(shape), repr(module), str(_hooks(module))]
    for name, child in module.named_modules():
        plain = {
            key: value
            for key, value in vars(child).items()
            if not key.startswith("_")
            and key != "training"
            and isinstance(value, bool | int | float | str | tuple | list)
        }
        facts.append(f"{name} {type(child).__module__}.{type(child).__qualname__} {sorted(plain.items(), key=str)}")
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        facts.append(f"{name} {tuple(tensor.shape)} {tensor.dtype} {tensor.device}")
    files = set()
    for child_type in {base for child in module.modules() for base in type(child).__mro__ if base is not object}:
        try:
            source = inspect.getsourcefile(child_type)
        except TypeError:
            source = None
        if source is None:
            return None
        files.add(source)
    digest.update("\0".join(facts).encode())
    for file in sorted(files):
        try:
            digest.update(Path(file).read_bytes())
        except OSError:
            return None
    return digest.hexdigest()


def _hooks(module: nn.Module) -> list[str]:
    """Names of the modules with hooks: a hook can change what is computed."""
    return [name for name, child in module.named_modules() if child._forward_hooks or child._forward_pre_hooks]


def load(key: str, module: nn.Module) -> ExportedProgram | None:
    """The stored program with the module's own parameters and buffers, or None where there is none that fits."""
    path = cache_folder() / f"{key}.pt2"
    if not path.is_file():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(path)
        state = dict(module.state_dict(keep_vars=True))
        if set(program.state_dict) != set(state):
            return None
        program._state_dict = state
        return program
    except Exception:  # a damaged file is as good as none: the program is made anew and stored over it
        return None


def store(key: str, program: ExportedProgram) -> None:
    """Keep a program, without its weights; a cache that cannot be written is no fault."""
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
    except Exception:  # not every program can be written, and a full disk stops no attack
        return
    finally:
        program._state_dict = weights


def _hollow(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the same shape that takes no room on disk."""
    hollow = torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
    return nn.Parameter(hollow, requires_grad=False) if isinstance(tensor, nn.Parameter) else hollow
