"""Operations of a captured graph that behave differently in training, and how they are switched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import fx, nn

__all__ = [
    "DROPOUTS",
    "Normalisation",
    "Switch",
    "attribute",
    "behind",
    "mixes_images",
    "normalisations",
    "switchable",
    "without_statistics",
]

aten = torch.ops.aten
NO_TRAINING = aten._native_batch_norm_legit_no_training.default

DROPOUTS = frozenset(
    {
        aten.dropout.default,
        aten.feature_dropout.default,
        aten.alpha_dropout.default,
        aten.feature_alpha_dropout.default,
        aten.dropout_.default,
        aten.feature_dropout_.default,
        aten.alpha_dropout_.default,
        aten.feature_alpha_dropout_.default,
    }
)
"""Operations that leave values out at random while training."""

SWITCHES: dict[Any, int] = {
    aten.batch_norm.default: 5,
    aten.instance_norm.default: 5,
    aten.rrelu.default: 3,
    **dict.fromkeys(DROPOUTS, 2),
}
"""Operations with an argument that says whether they are training, and its place."""

MEAN, MOMENTUM = 3, 6
"""Places of arguments of `aten.batch_norm` and `aten.instance_norm`."""


class Switch(nn.Module):
    """One operation that follows its module's `training` flag.

    Args:
        operation: of `SWITCHES`.
    """

    def __init__(self, operation: Any) -> None:
        super().__init__()
        self.operation, self.place = operation, SWITCHES[operation]

    def forward(self, *arguments: Any) -> Any:
        """The operation's result; `arguments` are its own, with any value for the flag."""
        return self.operation(*arguments[: self.place], self.training, *arguments[self.place + 1 :])


class Normalisation(nn.Module):
    """One batch norm (or instance norm with running statistics) that follows its module's `training` flag.

    In training the running statistics move by the layer's momentum. A layer without one (torch's `momentum=None`,
    which evaluation mode exports as 0) takes the mean over all batches so far, as torch does.

    Args:
        operation: `aten.batch_norm`, `aten.instance_norm`, or the form of the former that only evaluates.
        counter: the layer's `num_batches_tracked`, where it has one.
    """

    def __init__(self, operation: Any, counter: torch.Tensor | None) -> None:
        super().__init__()
        self.operation = operation
        self._counter = [] if counter is None else [counter]  # in a list: no second name for a buffer of the network
        self.averaging: int | None = None
        """While statistics are measured anew: how many batches they are of; None at other times."""

    def forward(self, *arguments: Any) -> Any:
        """The operation's result."""
        if not self.training:
            return self.operation(*arguments)
        if self.operation is NO_TRAINING:
            value, weight, bias, mean, variance, momentum, eps = arguments
            momentum = self._momentum(momentum)
            return aten.batch_norm(value, weight, bias, mean, variance, True, momentum, eps, False), None, None
        before, momentum, after = arguments[:5], arguments[MOMENTUM], arguments[MOMENTUM + 1 :]
        return self.operation(*before, True, self._momentum(momentum), *after)

    def _momentum(self, written: float) -> float:
        for counter in self._counter:
            counter.add_(1)
            # A layer that is called twice counts twice.
            if written == 0 or self.averaging is not None:
                return 1 / int(counter)
        return written if self.averaging is None else 1 / (self.averaging + 1)

    def start_anew(self) -> None:
        """Before statistics are measured anew: no batch was counted yet."""
        for counter in self._counter:
            counter.zero_()


def switchable(network: fx.GraphModule, nodes: Iterable[fx.Node] | None = None) -> fx.GraphModule:
    """The network with `train()` and `eval()` of effect, as its modules had them before it was exported for evaluation.

    Operations that were training in evaluation mode already (batch norms without running statistics) stay so.

    Args:
        network: a functional graph; it is changed. Its tensors must be where they will stay.
        nodes: the operations that may train; by default all.
    """
    for node in list(network.graph.nodes if nodes is None else nodes):
        if node.op != "call_function":
            continue
        made = _switch(network, node)
        if made is None:
            continue
        module, arguments = made
        name = f"linbp_{node.name}"
        network.add_submodule(name, module)
        with network.graph.inserting_before(node):
            call = network.graph.call_module(name, arguments)
        call.meta = dict(node.meta)
        node.replace_all_uses_with(call)
        network.graph.erase_node(node)
    network.recompile()
    return network.eval()


def _switch(network: fx.GraphModule, node: fx.Node) -> tuple[nn.Module, tuple[Any, ...]] | None:
    if node.target is NO_TRAINING:
        return Normalisation(node.target, _counter(network, node)), node.args
    if node.target not in SWITCHES:
        return None
    arguments = _all_arguments(node)
    if arguments[SWITCHES[node.target]]:
        return None
    if node.target in (aten.batch_norm.default, aten.instance_norm.default):
        if arguments[MEAN] is None:
            return None
        return Normalisation(node.target, _counter(network, node)), arguments
    return Switch(node.target), arguments


def _all_arguments(node: fx.Node) -> tuple[Any, ...]:
    """Every positional argument of an operation, defaults included, by its schema."""
    operation: Any = node.target
    schema = operation._schema.arguments
    given = dict(zip((one.name for one in schema), node.args, strict=False)) | dict(node.kwargs)
    return tuple(given.get(one.name, one.default_value) for one in schema)


def _counter(network: fx.GraphModule, node: fx.Node) -> torch.Tensor | None:
    """The counter of batches that lies beside a batch norm's running mean; instance norms do not count theirs."""
    mean = node.args[MEAN]
    if node.target is aten.instance_norm.default or not isinstance(mean, fx.Node) or mean.op != "get_attr":
        return None
    name = str(mean.target).rpartition(".")[0] + ".num_batches_tracked"
    return dict(network.named_buffers(remove_duplicate=False)).get(name.removeprefix("."))


def normalisations(network: nn.Module) -> Iterator[Normalisation]:
    """The normalisations with running statistics that can be trained."""
    return (module for module in network.modules() if isinstance(module, Normalisation))


def without_statistics(network: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node is a normalisation by mean 0 and variance 1 in every channel.

    Networks whose batch norms were folded into the layers in front of them keep such ones. By the statistics of a batch
    they would compute something else.
    """
    if node.target not in (NO_TRAINING, aten.batch_norm.default, aten.instance_norm.default):
        return False
    statistics = [attribute(network, argument) for argument in node.args[MEAN : MEAN + 2]]
    if any(tensor is None for tensor in statistics):
        return False
    mean, variance = statistics
    return bool((mean == 0).all() and (variance == 1).all())


def attribute(network: nn.Module, node: Any) -> Any:
    """What a `get_attr` node stands for; None for other nodes."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    value: Any = network
    for name in str(node.target).split("."):
        value = getattr(value, name)
    return value


def behind(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """Everything that depends on one of these nodes, and the nodes themselves."""
    found, waiting = set(), list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(node.users)
    return found


def mixes_images(network: nn.Module) -> bool:
    """Whether what the network computes for an image depends, in training, on the others of its batch."""
    return any(norm.operation is not aten.instance_norm.default for norm in normalisations(network))
