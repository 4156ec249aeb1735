"""Batch norm in evaluation mode is an affine map: fold it into the convolution in front of it."""

from __future__ import annotations

import torch
from torch import fx

from linbp.graph.constants import constant, drop_unused, new_constant
from linbp.graph.operations import CONVOLUTIONS

__all__ = ["fold_batch_norm"]

aten = torch.ops.aten


def fold_batch_norm(module: fx.GraphModule) -> int:
    """Fold every batch norm whose input is a convolution or a linear layer that nothing else reads.

    W' = W gamma / sqrt(variance + eps),  b' = (b - mean) gamma / sqrt(variance + eps) + beta, computed in float64.

    Returns:
        How many were folded.
    """
    folded = 0
    for node in list(module.graph.nodes):
        if node.op == "call_function" and node.target is aten.batch_norm.default and _fold_one(module, node):
            folded += 1
    module.graph.eliminate_dead_code()
    drop_unused(module)
    module.recompile()
    return folded


def _fold_one(module: fx.GraphModule, norm: fx.Node) -> bool:
    layer, training, eps = norm.args[0], norm.args[5], norm.args[7]
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
    scale = torch.rsqrt(variance.double() + float(eps))  # type: ignore[arg-type]
    gamma, beta = constant(module, norm.args[1]), constant(module, norm.args[2])
    if gamma is not None:
        scale = scale * gamma.double()
    shift = -mean.double() if bias is None else bias.double() - mean.double()
    shift = shift * scale if beta is None else shift * scale + beta.double()
    new_weight = (weight.double() * scale.view(-1, *[1] * (weight.ndim - 1))).to(weight.dtype)
    arguments = list(layer.args)
    arguments[1] = new_constant(module, new_weight, layer)
    arguments[2:3] = [new_constant(module, shift.to(weight.dtype), layer)]
    layer.args = tuple(arguments)
    norm.replace_all_uses_with(layer)
    module.graph.erase_node(norm)
    return True
