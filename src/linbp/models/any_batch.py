"""A network that was traced with two batch sizes, as one graph for every batch size."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.fx.node import map_aggregate
from torch.overrides import TorchFunctionMode

__all__ = ["NotOneGraph", "traced_for_any_batch"]

FEW, MORE = 2, 3
"""The batch sizes of the two traces."""


class NotOneGraph(ValueError):
    """Two traces differ in more than numbers and constants that grow with the batch."""


def traced_for_any_batch(function: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> fx.GraphModule:
    """The operations that a function does to images, for batches of any size.

    What depends on nothing but shapes is computed while it is traced, so that a function may read shapes as tensors and
    make Python's numbers out of them, which `torch.export` does not allow. It is traced with batches of 2 and of 3
    images. A whole number that is u in one trace and v in the other is (v - u) n + 3 u - 2 v for n images; a constant
    with u and v equal rows is expanded.

    Args:
        function: of images (n, C, H, W).
        images: three of them or more.

    Raises:
        NotOneGraph: the traces differ in something else.
    """
    few, more = (_traced(function, images[:count]) for count in (FEW, MORE))
    pairs = list(zip(few.graph.nodes, more.graph.nodes, strict=False))
    alike = len(few.graph.nodes) == len(more.graph.nodes)
    if not alike or any((one.op, one.target) != (other.op, other.target) for one, other in pairs):
        raise NotOneGraph("The network does other operations with other batch sizes.")
    _Merged(few, more).merge(pairs)
    few.graph.lint()
    few.recompile()
    return few


def _traced(function: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> fx.GraphModule:
    """The operations that a function does to these images, with everything else as constants."""
    recorder = _Recorder(images.clone())
    with torch.no_grad(), recorder:
        answer = function(recorder.images)
    return recorder.finished(answer)


class _Recorder(TorchFunctionMode):
    """Inside, calls of torch that depend on some images become nodes of a graph; all others are just made."""

    def __init__(self, images: torch.Tensor) -> None:
        super().__init__()
        self.images, self.root, self.graph = images, nn.Module(), fx.Graph()
        # The tensors stay alive, so that no other gets the identity of one of them.
        self.nodes: dict[int, tuple[torch.Tensor, fx.Node]] = {id(images): (images, self.graph.placeholder("images"))}
        self.constants: dict[int, tuple[torch.Tensor, fx.Node]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make the call, and note it if it depends on the images and gives tensors."""
        kwargs = kwargs or {}
        answer = func(*args, **kwargs)
        tensors = [value for value in _leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
        if any(id(tensor) in self.nodes for tensor in tensors):
            self._note(func, args, kwargs, answer)
        return answer

    def _note(self, func: Any, args: Any, kwargs: Any, answer: Any) -> None:
        several = isinstance(answer, list | tuple) and all(isinstance(one, torch.Tensor) for one in answer) and answer
        if not several and not isinstance(answer, torch.Tensor):
            return  # a shape, a dtype, a number
        kind, target, args = _call(func, args)
        node = self.graph.create_node(kind, target, *map_aggregate((tuple(args), kwargs), self._node))
        if not several:
            self.nodes[id(answer)] = answer, node
            return
        for number, one in enumerate(answer):
            self.nodes[id(one)] = one, self.graph.call_function(operator.getitem, (node, number))

    def _node(self, value: Any) -> Any:
        """What stands in the graph for an argument."""
        if not isinstance(value, torch.Tensor):
            return value
        if value.ndim == 0 and not value.is_floating_point() and id(value) not in self.nodes:
            return value.item()  # part of a shape or a bound, which may depend on the batch
        known = self.nodes.get(id(value)) or self.constants.get(id(value))
        if known is None:
            name = f"constant_{len(self.constants)}"
            self.root.register_buffer(name, value.detach())
            known = value, self.graph.get_attr(name)
            self.constants[id(value)] = known
        return known[1]

    def finished(self, answer: torch.Tensor) -> fx.GraphModule:
        """The graph, which returns `answer`."""
        self.graph.output(self._node(answer))
        return fx.GraphModule(self.root, self.graph)


def _call(func: Any, args: Any) -> tuple[str, Any, Any]:
    """How a graph writes a call of torch: as a function, a method, or an attribute that is read."""
    name = str(getattr(func, "__name__", ""))
    if name == "__get__":
        return "call_function", getattr, (args[0], func.__self__.__name__)
    if name == "__getitem__" and isinstance(args[1], list):
        return "call_method", name, (args[0], tuple(args[1]))  # what torch takes a list for
    if getattr(torch.Tensor, name, None) is func:
        return "call_method", name, args
    return "call_function", func, args


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in _leaves(one)]
    if isinstance(value, list | tuple):
        return [leaf for one in value for leaf in _leaves(one)]
    return [value]


class _Merged:
    """The first trace while it becomes the graph for every batch size."""

    def __init__(self, few: fx.GraphModule, more: fx.GraphModule) -> None:
        self.few, self.more, self.graph = few, more, few.graph
        self.images = next(node for node in self.graph.nodes if node.op == "placeholder")
        with self.graph.inserting_after(self.images):
            self.count = self.graph.call_method("size", (self.images, 0))
        self.numbers: dict[tuple[int, int], Any] = {}

    def merge(self, pairs: list[tuple[fx.Node, fx.Node]]) -> None:
        """Replace what differs, node by node."""
        for one, other in pairs:
            if one.op == "get_attr":
                self._merge_constant(one, other)
            elif one.op != "placeholder":
                one.args = self._merged(one.args, other.args)
                one.kwargs = self._merged(one.kwargs, other.kwargs)
        if not self.count.users:
            self.graph.erase_node(self.count)

    def _merged(self, one: Any, other: Any) -> Any:
        """An argument of the first trace, with numbers that depend on the batch."""
        if isinstance(one, fx.Node):
            return one
        if isinstance(one, dict):
            return {key: self._merged(value, other[key]) for key, value in one.items()}
        if isinstance(one, list | tuple):
            if len(one) != len(other):
                raise NotOneGraph("The network's shapes have other lengths with other batch sizes.")
            return type(one)(self._merged(*pair) for pair in zip(one, other, strict=True))
        if isinstance(one, slice):
            return slice(*self._merged((one.start, one.stop, one.step), (other.start, other.stop, other.step)))
        if type(one) is int and type(other) is int and one != other:
            return self._number(one, other)
        if one != other:
            raise NotOneGraph(f"The network computes with {one} and {other} with other batch sizes.")
        return one

    def _number(self, one: int, other: int) -> Any:
        """The number that is `one` for 2 images and `other` for 3."""
        if (one, other) not in self.numbers:
            factor = (other - one) // (MORE - FEW)
            offset = one - FEW * factor
            found = self.count
            with self.graph.inserting_after(self.count):
                if factor != 1:
                    found = self.graph.call_function(operator.mul, (found, factor))
            if offset:
                with self.graph.inserting_after(found):
                    found = self.graph.call_function(operator.add, (found, offset))
            self.numbers[one, other] = found
        return self.numbers[one, other]

    def _merge_constant(self, node: fx.Node, other: fx.Node) -> None:
        """A constant of the first trace, expanded where it has a row for each image."""
        here, there = getattr(self.few, str(node.target)), getattr(self.more, str(other.target))
        if here.shape == there.shape:
            if not torch.equal(here, there):
                raise NotOneGraph("The network has other constants with other batch sizes.")
            return
        axes = [axis for axis, pair in enumerate(zip(here.shape, there.shape, strict=True)) if pair[0] != pair[1]]
        row = here.narrow(axes[0], 0, 1)
        if len(axes) > 1 or not torch.equal(row.expand_as(here), here) or not torch.equal(row.expand_as(there), there):
            raise NotOneGraph("The network has other constants with other batch sizes.")
        setattr(self.few, str(node.target), row.clone())
        sizes: list[Any] = list(here.shape)
        sizes[axes[0]] = self._number(here.shape[axes[0]], there.shape[axes[0]])
        users = list(node.users)
        # The number is known only behind the input, and the constant may come before it.
        with self.graph.inserting_before(users[0]):
            wide = self.graph.call_method("expand", (node, sizes))
        for user in users:
            user.replace_input_with(node, wide)
