"""Where an operation may write over its input: fresh memory costs page faults, which add up to a tenth of a step."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from linbp.graph.structure.operations import CONVOLUTIONS

__all__ = ["OVERWRITING", "may_overwrite"]

aten = torch.ops.aten

OVERWRITING: dict[Any, Any] = {
    aten.relu.default: aten.relu_.default,
    aten.relu6.default: aten.relu6_.default,
    aten.hardtanh.default: aten.hardtanh_.default,
    aten.add.Tensor: aten.add_.Tensor,
}
"""Operations whose backward pass does not need their input, with the forms that write over it."""

FORGETTING = CONVOLUTIONS | {
    aten.linear.default,
    aten.addmm.default,
    aten.batch_norm.default,
    aten.addcmul.default,
    aten.add.Tensor,
}
"""Operations whose backward pass does not need their output, so that it may be written over."""


def may_overwrite(node: fx.Node) -> bool:
    """Whether a node may write its result over its first argument: nothing else, and no backward pass, reads that."""
    source = node.args[0] if node.args else None
    if not isinstance(source, fx.Node) or source.op != "call_function":
        return False
    if source.target not in FORGETTING or len(source.users) != 1:
        return False
    if node.target is aten.add.Tensor and node.args[1] is source:
        return False
    before, after = source.meta.get("val"), node.meta.get("val")
    return (
        isinstance(before, torch.Tensor)
        and isinstance(after, torch.Tensor)
        and before.shape[1:] == after.shape[1:]
        and before.dtype == after.dtype
    )
