"""Where an operation may write over its input: fresh memory costs page faults, which add up to a tenth of a step."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from linbp.graph.engine.operation import OperationModule
from linbp.graph.structure.operations import CONVOLUTIONS

__all__ = ["overwrite"]

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


def overwrite(network: fx.GraphModule) -> int:
    """Let operations write over their inputs where nothing else needs those; how many do."""
    chosen = [node for node in network.graph.nodes if _may_overwrite(network, node)]  # before any operation changes
    for node in chosen:
        target = OVERWRITING[_operation(node)]
        if node.op == "call_function":
            node.target = target
        else:
            network.get_submodule(str(node.target)).overwrite(target)  # type: ignore[operator]
    return len(chosen)


def _operation(node: fx.Node) -> Any:
    """What a node computes: its own operation, or that of the node that it took the place of."""
    return node.target if node.op == "call_function" else node.meta.get("operation")


def _may_overwrite(network: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node may write its result over its first argument: nothing else, and no backward pass, reads that."""
    if _operation(node) not in OVERWRITING:
        return False
    if node.op == "call_module":
        module = network.get_submodule(str(node.target))
        if not isinstance(module, OperationModule) or module.kept == "input":
            return False
    source = node.args[0] if node.args else None
    if not isinstance(source, fx.Node) or source.op not in ("call_function", "call_module"):
        return False
    if _operation(source) not in FORGETTING or len(source.users) != 1:
        return False
    if _operation(node) is aten.add.Tensor and node.args[1] is source:
        return False
    before, after = source.meta.get("val"), node.meta.get("val")
    return (
        isinstance(before, torch.Tensor)
        and isinstance(after, torch.Tensor)
        and before.shape[1:] == after.shape[1:]
        and before.dtype == after.dtype
    )
