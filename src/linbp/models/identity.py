"""What tells one network from another: a hash of its tensors, and one of everything else that computes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

from linbp.models.content import Content

__all__ = ["loose_tensors", "network_hashes", "weights_sha256"]


def weights_sha256(state: Mapping[str, Any]) -> str:
    """SHA-256 of a state dict's content: names, dtypes, shapes and bytes in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name]
        if isinstance(value, torch.Tensor):
            _update(digest, name, value)
            continue
        # quantised layers and `get_extra_state` put other things there
        content = Content(value, installed=False)
        digest.update(f"{name}\0{content.sha256()}\0".encode())
        for path, tensor in content.tensors.items():
            _update(digest, f"{name}{path}", tensor)
    return digest.hexdigest()


def _update(digest: Any, name: str, tensor: torch.Tensor) -> None:
    plain = tensor.detach()
    if plain.layout != torch.strided:
        plain = plain.to_dense()
    if plain.is_quantized:
        per_tensor = plain.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric)
        scale = (plain.q_scale(), plain.q_zero_point()) if per_tensor else plain.q_per_channel_scales().tolist()
        digest.update(f"{plain.qscheme()} {scale}".encode())
        plain = plain.int_repr()
    digest.update(f"{name}\0{plain.dtype}\0{tuple(plain.shape)}\0".encode())
    if plain.is_complex():
        plain = torch.view_as_real(plain.resolve_conj())
    if plain.numel() and plain.device.type != "meta":
        digest.update(plain.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def loose_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors that are not in the state dict, by how they are reached: attributes, buffers that are not saved."""
    return _loose(Content(module, installed=False), module)


def network_hashes(module: nn.Module, loose: Collection[str]) -> tuple[str, str]:
    """SHA-256 of all tensors, and of settings, structure, hooks and the user's own code.

    Args:
        module: the network.
        loose: which tensors outside the state dict count; not those that the network computed when it first ran.
    """
    content = Content(module, installed=False)
    extra = {f"{name} (loose)": value for name, value in _loose(content, module).items() if name in loose}
    return weights_sha256({**module.state_dict(), **extra}), content.sha256()


def _loose(content: Content, module: nn.Module) -> dict[str, torch.Tensor]:
    saved = {id(value) for value in module.state_dict(keep_vars=True).values()}
    return {name: tensor for name, tensor in content.tensors.items() if id(tensor) not in saved}
