"""Remove in-place operations, guards and copies of the batch size from an exported graph."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from linbp.errors import CaptureError
from linbp.graph.capture.grad_modes import inline_grad_modes
from linbp.graph.structure.operations import VIEWS

__all__ = ["functional_graph"]

aten = torch.ops.aten


def functional_graph(program: ExportedProgram) -> fx.GraphModule:
    """The program as a graph module of functional `aten` operations, parameters as `get_attr` nodes.

    Where no other node shares the memory, an in-place operation is replaced by the functional one of the same name.
    Where a view shares it, `run_decompositions` makes the whole program functional.

    Raises:
        CaptureError: an in-place operation has no functional form.
    """
    module: fx.GraphModule = program.module(check_guards=False)
    inline_grad_modes(module)
    if not _rename_in_place(module):
        _separate_buffers(program)
        module = program.run_decompositions({}).module(check_guards=False)
        inline_grad_modes(module)
        _keep_input(module)
        _restore_batch_norm(module)
    _values_of_max_pools(module)
    _drop_guards(module)
    _drop_copies(module)
    _one_batch_size(module)
    for node in module.graph.nodes:
        if node.op == "call_function" and node.target in (aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default  # the same values, and works for channels_last memory too
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _keep_input(module: fx.GraphModule) -> None:
    """Drop the copies at the end that write an input over, where the network did so to its images."""
    for node in list(module.graph.nodes):
        if node.target is aten.copy_.default and node.args[0].op == "placeholder":
            node.replace_all_uses_with(node.args[1])
            module.graph.erase_node(node)


def _rename_in_place(module: fx.GraphModule) -> bool:
    """Replace `op_(x)` by `op(x)`; False, without any effective change, if an alias makes that wrong."""
    order = {node: rank for rank, node in enumerate(module.graph.nodes)}
    for node in list(module.graph.nodes):
        name = _in_place_name(node)
        if name is None:
            continue
        target = node.args[0]
        if not isinstance(target, fx.Node) or _read_elsewhere(target, order[node], order):
            return False
        if name == "copy":
            node.target = aten.copy.default
        else:
            packet = getattr(aten, name, None)
            if packet is None or node.target._overloadname not in packet.overloads():
                raise CaptureError(
                    f"The in-place operation {node.target} has no functional form.",
                    "Write it out of place in the module's forward (y = f(x) instead of f_(x)).",
                )
            node.target = getattr(packet, node.target._overloadname)
        later = {user for user in target.users if order[user] > order[node]}
        target.replace_all_uses_with(node, delete_user_cb=later.__contains__)
    return True


def _in_place_name(node: fx.Node) -> str | None:
    """`relu` for a node that calls `aten.relu_`."""
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return None
    name = node.target._schema.name.split("::")[1]
    return name[:-1] if name.endswith("_") and not name.startswith("_") else None


def _root(node: fx.Node) -> fx.Node:
    """The node whose memory a chain of views shares."""
    while node.op == "call_function" and (_is_view(node) or node.target is operator.getitem) and node.args:
        source = node.args[0]
        if not isinstance(source, fx.Node):
            break
        node = source
    return node


def _is_view(node: fx.Node) -> bool:
    """Whether a node's result may share memory with its first argument, by its schema or by the list `VIEWS`."""
    if node.target in VIEWS:
        return True
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    shared = [result.alias_info for result in node.target._schema.returns]
    return any(alias is not None and not alias.is_write for alias in shared)


def _read_elsewhere(target: fx.Node, at: int, order: dict[fx.Node, int]) -> bool:
    """Whether another node with the same memory is used after position `at`."""
    root = _root(target)
    for other in order:
        if other is target or other.op == "output" or _root(other) is not root:
            continue
        if any(order[user] > at for user in other.users):
            return True
    return False


def _restore_batch_norm(module: fx.GraphModule) -> None:
    """Decomposition leaves a batch norm that returns three tensors; restore the ordinary one."""
    low = aten._native_batch_norm_legit_no_training.default
    for node in list(module.graph.nodes):
        if node.op != "call_function" or node.target is not low:
            continue
        value, weight, bias, mean, variance, momentum, eps = node.args
        with module.graph.inserting_before(node):
            whole = module.graph.call_function(
                aten.batch_norm.default, (value, weight, bias, mean, variance, False, momentum, eps, False)
            )
        whole.meta = {**node.meta, "val": node.meta["val"][0]}
        for user in list(node.users):
            if user.target is operator.getitem and user.args[1] == 0:
                user.replace_all_uses_with(whole)
                module.graph.erase_node(user)
        if not node.users:
            module.graph.erase_node(node)


def _separate_buffers(program: ExportedProgram) -> None:
    """Give each buffer one name: torch makes no program functional that writes into a buffer of two names.

    A module that stands in two places of the network has such buffers.
    """
    graph, signature = program.graph_module.graph, program.graph_signature
    inputs = {node.name: node for node in graph.nodes if node.op == "placeholder"}
    first: dict[int, fx.Node] = {}
    for name, target in signature.inputs_to_buffers.items():
        kept = program.state_dict if target in program.state_dict else program.constants
        node = first.setdefault(id(kept[target]), inputs[name])
        if node is inputs[name]:
            continue
        inputs[name].replace_all_uses_with(node)
        kept[target] = kept[target].clone()
    program.graph_module.recompile()


def _values_of_max_pools(module: fx.GraphModule) -> None:
    """Replace a max-pool that also returns indices by one that does not, wherever its values are read."""
    for node in list(module.graph.nodes):
        if node.op != "call_function" or node.target is not aten.max_pool2d_with_indices.default:
            continue
        for user in list(node.users):
            if user.target is operator.getitem and user.args[1] == 0:
                with module.graph.inserting_before(node):
                    values = module.graph.call_function(aten.max_pool2d.default, node.args, node.kwargs)
                values.meta = {**node.meta, "val": node.meta["val"][0]}
                user.replace_all_uses_with(values)
                module.graph.erase_node(user)
        if not node.users:
            module.graph.erase_node(node)


def _drop_copies(module: fx.GraphModule) -> None:
    """Write `copy(old, new)`, which has no derivative, as `new` expanded and cast to the shape and dtype of `old`."""
    for node in list(module.graph.nodes):
        if node.op != "call_function" or node.target is not aten.copy.default:
            continue
        old, new = node.args[:2]
        with module.graph.inserting_before(node):
            if old.meta["val"].dtype != new.meta["val"].dtype:
                new = module.graph.call_function(aten.to.dtype, (new, old.meta["val"].dtype))
                new.meta = dict(node.meta)
            if old.meta["val"].shape != node.args[1].meta["val"].shape:
                new = module.graph.call_function(aten.expand_as.default, (new, old))
                new.meta = dict(node.meta)
        node.replace_all_uses_with(new)
        module.graph.erase_node(node)


def _drop_guards(module: fx.GraphModule) -> None:
    for node in reversed(list(module.graph.nodes)):
        guard = node.op == "call_module" and "guard" in str(node.target)
        assertion = node.op == "call_function" and "_assert" in str(node.target)
        if (guard or assertion) and not node.users:
            module.graph.erase_node(node)


def _one_batch_size(module: fx.GraphModule) -> None:
    """Read the batch size from the input only, so that a size does not connect a branch to the rest of the graph."""
    graph = module.graph
    images = next(node for node in graph.nodes if node.op == "placeholder")
    batch = images.meta["val"].shape[0]
    if not isinstance(batch, torch.SymInt):
        return
    source: fx.Node | None = None
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target is not aten.sym_size.int or node is source:
            continue
        factor = _multiple(node.meta.get("val"), batch)
        if factor is None:
            continue
        if source is None:
            with graph.inserting_after(images):
                source = graph.call_function(aten.sym_size.int, (images, 0))
            source.meta["val"] = batch
        with graph.inserting_before(node):
            size = source if factor == 1 else graph.call_function(operator.mul, (source, factor))
        size.meta.setdefault("val", node.meta["val"])
        node.replace_all_uses_with(size)
        graph.erase_node(node)


def _multiple(size: Any, batch: torch.SymInt) -> int | None:
    """The whole number k with size = k x batch, or None."""
    if not isinstance(size, torch.SymInt):
        return None
    ratio = size.node.expr / batch.node.expr
    return int(ratio) if ratio.is_Integer else None
