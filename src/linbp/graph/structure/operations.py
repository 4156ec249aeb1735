"""Which operations are activations, which only reshape, and what the rest of the graph code calls them."""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch import fx

__all__ = [
    "ACTIVATIONS",
    "ARRANGING",
    "CONCATENATION",
    "CONVOLUTIONS",
    "FILLED",
    "FUSED_ATTENTION",
    "GATES",
    "MAX_POOL",
    "NORMALISATIONS",
    "PRODUCTS",
    "QUOTIENTS",
    "SOFTMAXES",
    "SUMS",
    "TIMES",
    "VIEWS",
    "activation_name",
    "clipping",
    "is_data",
]

aten = torch.ops.aten

ACTIVATIONS: dict[Any, str] = {
    aten.relu.default: "relu",
    aten.relu6.default: "relu6",
    aten.hardtanh.default: "hardtanh",
    aten.clamp.default: "clamp",
    aten.clamp_min.default: "clamp",
    aten.threshold.default: "threshold",
    aten.leaky_relu.default: "leaky_relu",
    aten.rrelu.default: "rrelu",
    aten.prelu.default: "prelu",
    aten.elu.default: "elu",
    aten.selu.default: "selu",
    aten.celu.default: "celu",
    aten.gelu.default: "gelu",
    aten.silu.default: "silu",
    aten.hardswish.default: "hardswish",
    aten.mish.default: "mish",
    aten.softplus.default: "softplus",
    aten.log_sigmoid.default: "log_sigmoid",
    aten.tanh.default: "tanh",
    aten.sigmoid.default: "sigmoid",
    aten.hardsigmoid.default: "hardsigmoid",
}
"""Activations, element by element, by the operation that the captured graph calls."""

GATES = frozenset({"sigmoid", "hardsigmoid", "tanh", "softplus"})
"""Activations that are gates wherever their result multiplies another tensor."""

MAX_POOL = aten.max_pool2d.default
"""The only form of a max-pool that a captured graph has: `functional_graph` writes the others so."""

CONCATENATION = aten.cat.default
"""Tensors side by side along one axis."""

SOFTMAXES = frozenset({aten.softmax.int, aten._softmax.default})
"""Operations whose results add up to 1 along one axis."""

PRODUCTS = frozenset({aten.matmul.default, aten.bmm.default})
"""Products of two matrices, or of rows of them."""

FUSED_ATTENTION = frozenset({aten.scaled_dot_product_attention.default})
"""Operations that compute a whole attention."""

FILLED = frozenset(
    {
        aten.new_zeros.default,
        aten.new_ones.default,
        aten.new_full.default,
        aten.zeros_like.default,
        aten.ones_like.default,
        aten.full_like.default,
    }
)
"""Operations that take only shape, dtype and device of their input."""

SUMS = frozenset({aten.add.Tensor})
"""Operations that can close a residual block."""

CONVOLUTIONS = frozenset({aten.conv1d.default, aten.conv2d.default, aten.conv3d.default, aten.convolution.default})
"""Convolutions whose weight starts with the output channels (unless transposed)."""

NORMALISATIONS = frozenset(
    {
        aten.batch_norm.default,
        aten.addcmul.default,  # a batch norm, written as what it computes
        aten.layer_norm.default,
        aten.group_norm.default,
        aten.instance_norm.default,
        aten.dropout.default,
        aten.mul.Scalar,
        aten.add.Scalar,
    }
)
"""Operations between a sum and the activation that follows it: they do not mix positions of a feature map."""

VIEWS = frozenset(
    {
        aten.view.default,
        aten.reshape.default,
        aten._unsafe_view.default,
        aten.flatten.using_ints,
        aten.unflatten.int,
        aten.slice.Tensor,
        aten.select.int,
        aten.narrow.default,
        aten.transpose.int,
        aten.permute.default,
        aten.t.default,
        aten.squeeze.default,
        aten.squeeze.dim,
        aten.squeeze.dims,
        aten.unsqueeze.default,
        aten.expand.default,
        aten.expand_as.default,
        aten.view_as.default,
        aten.reshape_as.default,
        aten.split.Tensor,
        aten.split_with_sizes.default,
        aten.chunk.default,
        aten.unbind.int,
        aten.detach.default,
        aten.alias.default,
        aten.contiguous.default,
        aten.dropout.default,
    }
)
"""Operations whose result may share memory with their first argument."""

QUOTIENTS = frozenset({aten.div.Tensor, aten.div.Scalar})
"""Quotients, element by element."""

TIMES = QUOTIENTS | {aten.mul.Tensor, aten.mul.Scalar}
"""Products and quotients, element by element."""

ARRANGING = VIEWS | {
    CONCATENATION,
    aten.stack.default,
    aten.neg.default,
    aten.roll.default,
    aten.flip.default,
    aten.clone.default,
    aten.to.dtype,
    aten._to_copy.default,
    aten.type_as.default,
    operator.getitem,
}
"""Operations that put values elsewhere, or give them another sign or dtype."""


def activation_name(node: fx.Node) -> str | None:
    """The name of the activation that a node is, or None.

    A clamp is an activation only where it is one-sided at zero or spans an interval from zero (ReLU, ReLU6 by hand).
    """
    custom = node.meta.get("activation")
    if custom is not None:
        return str(custom)
    name = ACTIVATIONS.get(node.target) if node.op == "call_function" else None
    if name == "clamp":
        low = node.args[1] if len(node.args) > 1 else node.kwargs.get("min")
        return name if low == 0 else None
    return name


def clipping(node: fx.Node) -> tuple[float, float] | None:
    """The two values between which an activation is the identity, where it is constant outside; None for others.

    ReLU: 0 and infinity. ReLU6: 0 and 6. Hardtanh: its two bounds.
    """
    if node.op != "call_function" or node.meta.get("activation") is not None:
        return None
    bounds: tuple[Any, Any] = None, None
    if node.target is aten.relu.default:
        bounds = 0.0, math.inf
    elif node.target is aten.relu6.default:
        bounds = 0.0, 6.0
    elif node.target is aten.hardtanh.default:
        bounds = _given(node, 1, "min_val", -1.0), _given(node, 2, "max_val", 1.0)
    elif node.target is aten.clamp.default or node.target is aten.clamp_min.default:
        bounds = _given(node, 1, "min", -math.inf), _given(node, 2, "max", math.inf)
    elif node.target is aten.threshold.default and node.args[1] == node.args[2]:
        bounds = node.args[1], math.inf
    low, high = bounds
    return (float(low), float(high)) if isinstance(low, int | float) and isinstance(high, int | float) else None


def _given(node: fx.Node, position: int, name: str, default: float) -> Any:
    """An argument of a node, or its default."""
    value = node.args[position] if len(node.args) > position else node.kwargs.get(name)
    return default if value is None else value


def is_data(node: fx.Node) -> bool:
    """Whether a node's value is a tensor, or a tuple of tensors (and not an integer, such as a size)."""
    value = node.meta.get("val")
    if isinstance(value, tuple | list):
        return any(isinstance(item, torch.Tensor) for item in value)
    return value is None or isinstance(value, torch.Tensor)
