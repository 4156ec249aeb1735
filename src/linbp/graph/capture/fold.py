"""Batch norm in evaluation mode is an affine map: fold it into the convolution in front of it, or write it as one."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import fx

from linbp.graph.capture.constants import constant, drop_unused, new_constant
from linbp.graph.structure.operations import CONVOLUTIONS

__all__ = ["affine_batch_norm", "fold_batch_norm"]

aten = torch.ops.aten


def fold_batch_norm(module: fx.GraphModule, keep: Collection[str] = ()) -> dict[str, str]:
    """Fold every batch norm whose input is a convolution or a linear layer that nothing else reads.

    W' = W gamma / sqrt(variance + eps),  b' = (b - mean) gamma / sqrt(variance + eps) + beta, computed in float64.

    Args:
        module: a captured network.
        keep: names of layers whose own values are wanted: their batch norms stay.

    Returns:
        The layer that each folded batch norm went into, by the names of their nodes.
    """
    folded: dict[str, str] = {}
    for node in list(module.graph.nodes):
        if node.op != "call_function" or node.target is not aten.batch_norm.default:
            continue
        layer = node.args[0]
        if isinstance(layer, fx.Node) and layer.name not in keep and _fold_one(module, node):
            folded[node.name] = layer.name
    module.graph.eliminate_dead_code()
    drop_unused(module)
    module.recompile()
    return folded


def _fold_one(module: fx.GraphModule, norm: fx.Node) -> bool:
    layer, training = norm.args[0], norm.args[5]
    if training or not isinstance(layer, fx.Node) or len(layer.users) != 1:
        return False
    if layer.target not in CONVOLUTIONS and layer.target is not aten.linear.default:
        return False
    if layer.target is aten.convolution.default and layer.args[6]:  # transposed: output channels come second
        return False
    weight = constant(module, layer.args[1])
    given = layer.args[2] if len(layer.args) > 2 else None
    bias = constant(module, given)
    mean, variance = constant(module, norm.args[3]), constant(module, norm.args[4])
    if weight is None or mean is None or variance is None or (given is not None and bias is None):
        return False
    if layer.target is aten.linear.default and len(layer.meta["val"].shape) != 2:  # channels come second, not last
        return False
    scale, shift = _scale_and_shift(module, norm, mean, variance)
    if bias is not None:
        shift = shift + bias.double() * scale
    new_weight = (weight.double() * scale.view(-1, *[1] * (weight.ndim - 1))).to(weight.dtype)
    arguments = list(layer.args)
    arguments[1] = new_constant(module, new_weight, layer)
    arguments[2:3] = [new_constant(module, shift.to(weight.dtype), layer)]
    layer.args = tuple(arguments)
    norm.replace_all_uses_with(layer)
    module.graph.erase_node(norm)
    return True


def affine_batch_norm(module: fx.GraphModule) -> dict[str, str]:
    """Write every batch norm with constant statistics as shift + x scale, which is what it computes.

    That is up to three times as fast, keeps nothing for the backward pass, and is right where PyTorch is not: on one
    image, the processor's derivative of a batch norm misreads a gradient that comes through a flattening and a
    transposition (with 2.15 in LeViT, XCiT and EfficientFormer, where it is off by its own size). Half precision
    keeps its batch norms, whose constants have more digits than its numbers.

    Returns:
        The node that each batch norm became, by their names.
    """
    written: dict[str, str] = {}
    for node in list(module.graph.nodes):
        if node.op == "call_function" and node.target is aten.batch_norm.default:
            affine = _write_one(module, node)
            if affine is not None:
                written[node.name] = affine.name
    module.graph.eliminate_dead_code()
    drop_unused(module)
    module.recompile()
    return written


def _write_one(module: fx.GraphModule, norm: fx.Node) -> fx.Node | None:
    mean, variance = constant(module, norm.args[3]), constant(module, norm.args[4])
    value = norm.meta["val"]
    if norm.args[5] or mean is None or variance is None or value.dtype not in (torch.float32, torch.float64):
        return None
    scale, shift = (
        new_constant(module, tensor.to(value.dtype).view(-1, *[1] * (value.ndim - 2)), norm)
        for tensor in _scale_and_shift(module, norm, mean, variance)
    )
    with module.graph.inserting_before(norm):
        affine = module.graph.call_function(aten.addcmul.default, (shift, norm.args[0], scale))
    affine.meta = dict(norm.meta)
    norm.replace_all_uses_with(affine)
    module.graph.erase_node(norm)
    return affine


def _scale_and_shift(
    module: fx.GraphModule, norm: fx.Node, mean: torch.Tensor, variance: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each channel, in float64: the batch norm is x scale + shift."""
    scale = torch.rsqrt(variance.double() + float(norm.args[7]))  # type: ignore[arg-type]
    gamma, beta = constant(module, norm.args[1]), constant(module, norm.args[2])
    if gamma is not None:
        scale = scale * gamma.double()
    shift = -mean.double() * scale
    return scale, shift if beta is None else shift + beta.double()
