"""The key of the cache: one hash of everything that determines a module's program."""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import types
from pathlib import Path
from typing import Any

import torch
from torch import nn

from linbp.version import __version__

__all__ = ["content_key"]

INTERNAL = frozenset(vars(nn.Module()))
"""Attributes that every module has: parameters, buffers, children and hooks are hashed one by one."""

DEEPEST = 4
"""How many levels of nested attributes are hashed."""


def content_key(module: nn.Module, shape: tuple[int, ...]) -> str | None:
    """SHA-256 of everything that is known to determine a module's program, or None if a class has no readable source.

    It covers versions, the input's shape, the tree of modules with their hooks and settings (numbers, strings,
    functions, constant tensors), the names, shapes and dtypes of parameters and buffers, and the text of every source
    file that a module's class comes from. It leaves out the values in the state dict: a program is stored without them.
    """
    facts = [torch.__version__, __version__, sys.version, str(shape), repr(module)]
    for name, child in module.named_modules():
        hooks = [*child._forward_pre_hooks.values(), *child._forward_hooks.values()]
        settings = {key: value for key, value in vars(child).items() if key not in INTERNAL}
        facts.append(f"{name} {_name(type(child))} {_fact(settings)} {_fact(hooks)}")
    stored = module.state_dict(keep_vars=True).keys()
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        value = "" if name in stored else _fact(tensor)
        facts.append(f"{name} {tuple(tensor.shape)} {tensor.dtype} {tensor.device} {value}")
    files = set()
    for child_type in {base for child in module.modules() for base in type(child).__mro__ if base is not object}:
        try:
            source = inspect.getsourcefile(child_type)
        except TypeError:
            source = None
        if source is None:
            return None
        files.add(source)
    digest = hashlib.sha256("\0".join(facts).encode())
    for file in sorted(files):
        try:
            digest.update(Path(file).read_bytes())
        except OSError:
            return None
    return digest.hexdigest()


def _fact(value: Any, depth: int = 0) -> str:
    """A setting as text that is the same in every process; for a tensor, the hash of its values."""
    if depth > DEEPEST or isinstance(value, nn.Module):
        return _name(type(value))
    if isinstance(value, torch.Tensor):
        plain = value.detach().cpu().contiguous()
        content = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
        return f"{tuple(plain.shape)} {plain.dtype} {hashlib.sha256(content).hexdigest()}"
    if isinstance(value, dict):
        return str(sorted((str(key), _fact(item, depth + 1)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return str([_fact(item, depth + 1) for item in value])
    if isinstance(value, set | frozenset):
        return str(sorted(_fact(item, depth + 1) for item in value))
    if isinstance(value, functools.partial):
        return _fact([value.func, value.args, value.keywords], depth)
    if isinstance(value, types.MethodType):
        return _fact(value.__func__, depth)
    if isinstance(value, types.FunctionType):
        cells = [_content(cell) for cell in value.__closure__ or ()]
        code = [value.__code__.co_code.hex(), value.__code__.co_names, value.__code__.co_consts]
        return _name(value) + _fact([code, value.__defaults__, cells], depth)
    if isinstance(value, type | types.BuiltinFunctionType):
        return _name(value)
    if isinstance(value, types.CodeType):
        return value.co_code.hex()
    written = repr(value)
    if " at 0x" in written:  # an object's address differs from process to process
        return _name(type(value)) + _fact(getattr(value, "__dict__", {}), depth + 1)
    return written


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that has no value yet
        return None


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"
