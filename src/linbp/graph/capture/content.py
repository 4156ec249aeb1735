"""The key of the cache: one hash of everything that determines a module's program."""

from __future__ import annotations

import hashlib
import sys

import torch
from torch import nn

from linbp.models.content import Content
from linbp.models.identity import weights_sha256
from linbp.version import __version__

__all__ = ["content_key"]


def content_key(module: nn.Module, shape: tuple[int, ...]) -> str | None:
    """SHA-256 of everything that is known to determine a module's program, or None if something in it cannot be read.

    It covers versions, the input's shape, the tree of modules with their hooks and settings, the code of its classes
    and of all that they reach by name or hold, and the tensors outside the state dict. It leaves out the values in the
    state dict: a program is stored without them.
    """
    content = Content(module, installed=True)
    if not content.whole:
        return None
    stored = {id(tensor) for tensor in module.state_dict(keep_vars=True).values()}
    facts = [torch.__version__, __version__, sys.version, str(shape), str(torch.get_default_dtype()), content.sha256()]
    facts += [f"{name} {value.device} {value.requires_grad}" for name, value in content.tensors.items()]
    facts.append(weights_sha256({name: value for name, value in content.tensors.items() if id(value) not in stored}))
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()
