"""A network with rules whose forward and backward pass are compiled (`torch.compile`), one pair for each shape.

What rules do is traced with the rest, so that no rule is in the compiler's way: one call of the network, and one of its
backward pass, are recorded as one flat graph of torch's operations, which is cut behind the logits. On a GPU both
compiled passes are then recorded as CUDA graphs.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.autograd.function import once_differentiable

from linbp.errors import ModelError
from linbp.graph.engine.norms import without_branches
from linbp.graph.engine.recorded import Recordings

__all__ = ["Compiled"]

Compute = Callable[..., Any]
RECORDED = ("cuda",)
"""Kinds of devices on which passes are recorded."""


@dataclasses.dataclass(frozen=True)
class _Pair:
    """The two passes at one shape.

    Attributes:
        forward: from images to a list of the values and of what the backward pass needs.
        backward: from that and the gradients at the values to the gradient at the images.
        values: how many values there are.
        single: whether the network returns its one value as it is.
        recordings: of both passes, on a GPU; elsewhere None.
    """

    forward: Compute
    backward: Compute
    values: int
    single: bool
    recordings: Recordings | None


class Compiled(nn.Module):
    """A network whose gradients are computed by compiled code; without a gradient it runs as it is.

    A batch that is smaller than one that code was made for is filled up with copies, so that the last batch of many
    costs no compiling.

    Args:
        network: with the rules' gradient.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._pairs: dict[tuple[Any, ...], _Pair] = {}

    def forward(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """What the network returns.

        Raises:
            ModelError: it cannot be compiled here.
        """
        if not torch.is_grad_enabled() or not images.requires_grad:
            plain: torch.Tensor | tuple[torch.Tensor, ...] = self.network(images)
            return plain
        count, kind = len(images), (*images.shape[1:], images.dtype, images.device, *_modes(images.device.type))
        sizes = [size for size, *rest in self._pairs if (*rest,) == kind and size >= count]
        if sizes and (missing := min(sizes) - count):
            images = torch.cat([images, images[:1].expand(missing, -1, -1, -1)])
        key = (len(images), *kind)
        if key not in self._pairs:
            self._pairs[key] = _pair(self.network, images.detach())
        pair = self._pairs[key]
        found = tuple(value[:count] for value in _Function.apply(images, pair))
        return found[0] if pair.single else found

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled:
        """A copy compiles for itself."""
        return Compiled(copy.deepcopy(self.network, memo))


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, pair: _Pair) -> tuple[torch.Tensor, ...]:
        ctx.pair, images = pair, images.detach()
        ctx.loan = _called(pair.recordings.lend, images) if pair.recordings else None
        if ctx.loan:
            return tuple(ctx.loan.run(images))
        found = _called(pair.forward, images)
        ctx.save_for_backward(*found[pair.values :])
        return tuple(found[: pair.values])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        if ctx.loan:
            return ctx.loan.pull(gradients), None
        (passed,) = _called(ctx.pair.backward, *ctx.saved_tensors, *gradients)
        return passed, None


def _modes(device: str) -> tuple[Any, ...]:
    """Settings of torch that compiled or recorded code keeps, whatever they are when it runs."""
    return (
        torch.is_autocast_enabled(device),
        torch.get_autocast_dtype(device),
        torch.backends.cudnn.conv.fp32_precision,  # type: ignore[attr-defined]
        torch.backends.cuda.matmul.fp32_precision,
    )


def _called(compute: Compute, *given: torch.Tensor) -> Any:
    """A compiled function's result, also where the caller lets compiled functions run as they are written."""
    try:
        with torch.compiler.set_stance("default"), torch.no_grad():
            return compute(*given)
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as fault:  # of the compiler, of the language that it writes, or of the system
        told = next((line.strip() for line in str(fault).splitlines() if line.strip()), type(fault).__name__)
        raise ModelError(
            f"The network cannot be compiled here: {type(fault).__name__}: {told[:200]}",
            "Compiling needs a C++ compiler for a CPU, and Triton for a GPU. Leave it out: it changes speed only.",
        ) from fault


def _pair(network: nn.Module, images: torch.Tensor) -> _Pair:
    """Both passes at the shape of some images.

    Raises:
        ModelError: they cannot be traced.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    single = True

    def both(images: torch.Tensor, *gradients: torch.Tensor) -> list[torch.Tensor]:
        nonlocal single
        with torch.enable_grad():
            leaf = images.detach().requires_grad_()
            found = network(leaf)
            single = not isinstance(found, tuple)
            values = (found,) if single else found
            (passed,) = torch.autograd.grad(values, leaf, gradients, allow_unused=True, materialize_grads=True)
        return [*(value.detach() for value in values), passed]

    with torch.no_grad():
        shown = network(images)
    gradients = [torch.rand_like(value) for value in (shown if isinstance(shown, tuple) else (shown,))]
    try:
        with without_branches(), torch.autograd.set_multithreading_enabled(False):
            flat = make_fx(both)(images, *gradients)
            flat = make_fx(torch.func.functionalize(flat))(images, *gradients)
    except RuntimeError as fault:
        told = str(fault).splitlines()[0]
        raise ModelError(
            f"The network and its rule cannot be compiled: {told[:200]}", "Leave compiling out: it changes speed only."
        ) from fault
    forward, backward = (torch.compile(one, fullgraph=True, dynamic=False) for one in _cut(flat, len(gradients)))
    recordings = Recordings(forward, backward, len(gradients)) if images.device.type in RECORDED else None
    return _Pair(forward, backward, len(gradients), single, recordings)


def _cut(flat: fx.GraphModule, count: int) -> tuple[fx.GraphModule, fx.GraphModule]:
    """A graph of both passes as two, cut where the first gradient comes in; the first of its results are the values."""
    *nodes, output = flat.graph.nodes
    (results,) = output.args
    images, *gradients = (node for node in nodes if node.op == "placeholder")
    late = set(gradients)
    for node in nodes:
        if late.intersection(node.all_input_nodes):
            late.add(node)
    late.difference_update(gradients)
    begin = next((number for number, node in enumerate(nodes) if node in late), len(nodes))
    waiting, behind = list(results[:count]), set(nodes[:begin]).difference(gradients)
    while waiting:  # values may be views that are recorded at the end
        node = waiting.pop()
        if node not in behind:
            behind.add(node)
            waiting += node.all_input_nodes
    constants = {node for node in nodes if node.op == "get_attr"}
    rest = [node for node in nodes if node in constants or (node not in behind and node not in gradients)]
    read = {source for node in rest for source in node.all_input_nodes} | {results[count]}
    saved = [node for node in nodes if node in behind - constants and node in read]
    forward = [node for node in nodes if node in behind and node is not images]
    return (
        _part(flat, [images], forward, [*results[:count], *saved]),
        _part(flat, [*saved, *gradients], rest, [results[count]]),
    )


def _part(
    flat: fx.GraphModule, inputs: Sequence[fx.Node], body: Sequence[fx.Node], results: Sequence[fx.Node]
) -> fx.GraphModule:
    """Some nodes of a graph as a graph of their own."""
    graph, made = fx.Graph(), {}
    for number, node in enumerate(inputs):
        made[node] = graph.placeholder(f"input_{number}")
    for node in body:
        made[node] = graph.node_copy(node, made.__getitem__)
    graph.output([made[node] for node in results])
    graph.eliminate_dead_code()
    return fx.GraphModule(flat, graph)
