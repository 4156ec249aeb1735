"""What a network consists of, in a form that is the same in every process: settings, code reached, and tensors."""

from __future__ import annotations

import collections
import enum
import functools
import hashlib
import inspect
import logging
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from linbp.models.code import cells_of, is_installed, package, parts_of_class, parts_of_code, parts_of_function

__all__ = ["Content"]

INTERNAL = frozenset(vars(nn.Module()))
"""Attributes that every module has: parameters, buffers, children and hooks are read one by one."""

HOOKS = (
    "_forward_pre_hooks",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_pre_hooks",
    "_backward_hooks",
)
LIBRARIES = frozenset({"torch", "numpy", *sys.stdlib_module_names}) - {"__main__"}
"""Packages whose code a version tells."""

MOST, DEEPEST = 200_000, 150
"""Facts, and levels of things inside things: what goes on further is not read."""

PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), PurePath, range, slice, enum.Enum)
WRITTEN = (
    *PLAIN,
    torch.dtype,
    torch.device,
    torch.layout,
    torch.memory_format,
    torch._ops.OpOverload,
    torch._ops.OpOverloadPacket,
    np.dtype,
    np.generic,
)
"""What its `repr` tells."""
NAMED = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)


class Content:
    """The content of a module, or of anything else.

    Args:
        thing: the network. Its parts are named by how they are reached.
        installed: whether the code of installed packages is read, or only their names.

    Attributes:
        facts: settings, structure and code. The values of tensors are not among them, and neither is an attribute that
            is a tensor or None: many modules put a tensor there that they compute when they first run.
        tensors: by how they are reached; parameters and buffers by their names in the state dict.
        whole: whether all was read; not so with objects of other languages.
    """

    def __init__(self, thing: Any, *, installed: bool) -> None:
        self.installed, self.whole = installed, True
        self.facts: list[str] = []
        self.tensors: dict[str, torch.Tensor] = {}
        self._met: dict[
            int, tuple[int, Any]
        ] = {}  # with the thing itself: the number of one that is gone is used again
        self._read(thing, "", 0)

    def sha256(self) -> str:
        """SHA-256 of the facts."""
        return hashlib.sha256("\0".join(self.facts).encode(errors="replace")).hexdigest()

    def _read(self, value: Any, path: str, depth: int) -> None:
        if len(self.facts) > MOST or depth > DEEPEST:
            self.whole = False
        elif isinstance(value, WRITTEN):
            self.facts.append(f"{path} {type(value).__name__} {value!r}")
        elif id(value) in self._met:
            self.facts.append(f"{path} is {self._met[id(value)][0]}")
        else:
            if not isinstance(value, tuple | frozenset | types.CodeType):
                self._met[id(value)] = (len(self.facts), value)
            if isinstance(value, torch.Tensor):
                self.tensors[path] = value
            elif isinstance(value, nn.Module):
                self._read_module(value, path, depth)
            else:
                self.facts.append(f"{path} {type(value).__name__}")
                self._read_parts(self._parts(value), path, depth)

    def _read_parts(self, parts: Iterator[tuple[str, Any]], path: str, depth: int) -> None:
        for name, part in parts:
            if part is not None:
                self._read(part, f"{path}.{name}" if path else name, depth + 1)

    def _read_module(self, module: nn.Module, path: str, depth: int) -> None:
        self._read(type(module), f"{path}<class>", depth)
        if isinstance(module, fx.GraphModule | torch.jit.ScriptModule):
            self.facts.append(str(getattr(module, "code", "")))
        for kind in HOOKS:
            self._read_parts(_numbered(getattr(module, kind).values()), f"{path}<{kind}>", depth)
        for kind in ("_parameters", "_buffers"):
            for name, tensor in list(getattr(module, kind).items()):
                if tensor is not None:
                    self.facts.append(f"{path}.{name} {tuple(tensor.shape)} {tensor.dtype}")
                    self._read(tensor, f"{path}.{name}" if path else name, depth)
        self._read_parts(iter(list(module._modules.items())), path, depth)
        if not isinstance(module, fx.GraphModule | torch.jit.ScriptModule):
            own = [(name, value) for name, value in vars(module).items() if name not in INTERNAL]
            self._read_parts(iter(own), path, depth)

    def _parts(self, value: Any) -> Iterator[tuple[str, Any]]:
        """What a thing is made of, each part with its name."""
        if isinstance(value, Mapping):
            for number, (key, part) in enumerate(list(value.items())):
                yield f"[{key!r}]" if isinstance(key, PLAIN) else f"[{number}]", part
        elif isinstance(value, list | tuple | collections.deque):
            yield from _numbered(value)
        elif isinstance(value, set | frozenset):
            yield from _numbered(sorted(repr(part) for part in value if isinstance(part, WRITTEN)))
        elif isinstance(value, np.ndarray):
            yield "values", torch.from_numpy(value) if value.dtype.kind in "fiub" else repr(value)
        elif isinstance(value, functools.partial):
            yield from (("function", value.func), ("arguments", value.args), ("options", value.keywords))
        elif isinstance(value, types.MethodType):
            yield from (("self", value.__self__), ("function", value.__func__))
        elif isinstance(value, types.FunctionType):
            yield "name", self._name(value)
            yield from cells_of(value)
            yield from parts_of_function(value) if self._counts(value) else ()
        elif isinstance(value, types.CodeType):
            yield from parts_of_code(value)
        elif isinstance(value, type):
            yield "name", self._name(value)
            yield from parts_of_class(value) if self._counts(value) else ()
        elif isinstance(value, property):
            yield from (("get", value.fget), ("set", value.fset))
        elif isinstance(value, staticmethod | classmethod):
            yield "function", value.__func__
        elif isinstance(value, types.ModuleType):  # some modules compute what they are asked for
            yield "name", f"{inspect.getattr_static(value, '__module__', '')} {vars(value).get('__name__', '')}"
        elif isinstance(value, (*NAMED, logging.Logger)):
            yield "name", f"{getattr(value, '__module__', '')} {getattr(value, '__name__', getattr(value, 'name', ''))}"
        else:
            yield from self._parts_of_object(value)

    def _parts_of_object(self, value: Any) -> Iterator[tuple[str, Any]]:
        yield "class", type(value)
        slots = [name for base in type(value).__mro__ for name in _slots(base)]
        yield from ((name, getattr(value, name, None)) for name in slots if name not in ("__dict__", "__weakref__"))
        if hasattr(value, "__dict__"):
            yield from list(vars(value).items())
        elif not slots:
            written = repr(value)
            if " at 0x" in written:  # an address says nothing, and is another one in every process
                self.whole = False
            else:
                yield "written", written

    def _name(self, thing: Any) -> str:
        """A file of the user's own may be moved: what it defines is known by what it consists of."""
        home = thing.__module__ if is_installed(thing) or package(thing) in LIBRARIES else ""
        return f"{home}.{thing.__qualname__}"

    def _counts(self, thing: Any) -> bool:
        """Whether the code of a function or a class is read, or only its name."""
        return package(thing) not in LIBRARIES and (self.installed or not is_installed(thing))


def _numbered(parts: Any) -> Iterator[tuple[str, Any]]:
    return iter([(f"[{number}]", part) for number, part in enumerate(parts)])


def _slots(kind: type) -> tuple[str, ...]:
    found = vars(kind).get("__slots__", ())
    return (found,) if isinstance(found, str) else tuple(found)
