"""Feature maps of a captured network, by the module that returns them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import fx

from linbp.errors import RuleError, nearest_name
from linbp.graph.capture.constants import shallow_copy
from linbp.graph.structure.dominators import Dominators
from linbp.graph.structure.module_paths import module_paths
from linbp.graph.structure.structure import Output, Structure
from linbp.graph.structure.suggestions import suggestions

__all__ = ["find_output", "module_outputs", "spatial_size", "stage_outputs", "up_to", "with_outputs"]

IMAGE_RANK = 4
LISTED = 30
"""An error names all feature maps of a network up to this many; of more, those with similar paths."""
STAGES = 4
"""How many blocks stand for the stages of a network whose feature maps all have one shape."""


def module_outputs(graph: fx.Graph, merged: Mapping[str, str]) -> dict[str, Output]:
    """What each module returns, in execution order: its last value that is read outside of it.

    Only tensors with one row for each image count: the windows of a Swin transformer, say, do not.

    Args:
        graph: a captured graph, before batch norms were folded.
        merged: what each batch norm went into or became, by the names of their nodes.
    """
    batch = next(str(node.meta["val"].shape[0]) for node in graph.nodes if node.op == "placeholder")
    last: dict[str, fx.Node] = {}
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        for path in module_paths(node):
            if any(path not in module_paths(user) for user in node.users):
                last[path] = node
    found: dict[str, Output] = {}
    order = {node: rank for rank, node in enumerate(graph.nodes)}
    passed = _passed_by_all(graph)
    for path, node in sorted(last.items(), key=lambda item: (order[item[1]], item[0].count("."))):
        value = node.meta.get("val")
        if path and isinstance(value, torch.Tensor) and value.ndim > 1 and str(value.shape[0]) == batch:
            shape = tuple(int(size) for size in value.shape[1:])
            now = merged.get(node.name, node.name)
            found[path] = Output(
                module_path=path, node=now, original=node.name, shape=shape, on_every_path=node in passed
            )
    return found


def _passed_by_all(graph: fx.Graph) -> set[fx.Node]:
    """The nodes that every path from the images to the logits goes through."""
    dominators = Dominators(graph)
    (logits,) = next(node for node in graph.nodes if node.op == "output").all_input_nodes
    passed: set[fx.Node] = set()
    node: fx.Node | None = logits
    while node is not None:
        passed.add(node)
        node = dominators.parent[node]
    return passed


def find_output(path: str, structure: Structure) -> Output:
    """The feature map with a module path.

    Raises:
        RuleError: there is none; the hint lists those that there are, in a large network the similar ones.
    """
    found = structure.outputs.get(path)
    if found is None:
        known = list(structure.outputs)
        if len(known) > LISTED:
            hint = f"{suggestions(path, known)} `linbp inspect MODEL --feature-maps` lists all {len(known)}."
        else:
            hint = nearest_name(path, known)
            hint = f"{hint} " if hint.startswith("Did") else ""
            hint += f"There are: {', '.join(known)}."
        raise RuleError(f"The network has no feature map called {path!r}.", hint)
    return found


def stage_outputs(structure: Structure) -> tuple[str, ...]:
    """The module paths of the last feature map of every spatial size that everything goes through, in their order.

    What lies inside a module that goes on to the next size is left out: the wide layer that begins the next block of a
    MobileNet is no end of a stage. In a network whose feature maps all have one size (a vision transformer), the
    outputs of four blocks with residual sums, at even distances and the last one among them.

    Raises:
        RuleError: the network has no such feature maps.
    """
    maps = {
        path: output
        for path, output in structure.outputs.items()
        if output.on_every_path and len(output.shape) == IMAGE_RANK - 1 and min(spatial_size(output.shape)) > 1
    }
    spans: dict[str, set[tuple[int, int]]] = {}
    for path, output in maps.items():
        for outer in _and_around(path):
            spans.setdefault(outer, set()).add(spatial_size(output.shape))
    last: dict[tuple[int, int], tuple[int, Output]] = {}
    for path, output in maps.items():
        size = spatial_size(output.shape)
        around = [outer for outer in _and_around(path) if outer in maps and len(spans[outer]) <= 2]
        depth = sum(spatial_size(maps[outer].shape) != size for outer in around)
        known = last.get(size)
        if known is None or depth < known[0] or (depth == known[0] and known[1].original != output.original):
            last.pop(size, None)  # of modules with one result, the outermost comes first and stays
            last[size] = depth, output
    if len(last) > 1:
        return tuple(output.module_path for _, output in last.values())
    adding = dict.fromkeys(junction.module_path for junction in structure.junctions)
    blocks = [path for path in adding if path in structure.outputs and structure.outputs[path].on_every_path]
    if not blocks:
        raise RuleError(
            "The network has no stages: its feature maps all have one size, and none is a residual sum.",
            "Name the feature maps, such as at=[features.3, features.8].",
        )
    picked = {((number + 1) * len(blocks) - 1) // STAGES for number in range(STAGES)}
    return tuple(blocks[index] for index in sorted(index for index in picked if index >= 0))


def spatial_size(shape: Sequence[int]) -> tuple[int, int]:
    """Height and width of a feature map of three axes: the last two, or the first two where only those are alike.

    Channels stand first, except in some transformers (Swin), which have them last.
    """
    first, second, third = shape
    return (first, second) if first == second != third else (second, third)


def _and_around(path: str) -> list[str]:
    """A module's path and those of the modules that it is inside of."""
    names = path.split(".")
    return [".".join(names[:count]) for count in range(1, len(names) + 1)]


def with_outputs(network: fx.GraphModule, nodes: Sequence[str]) -> fx.GraphModule:
    """A network that returns (logits, *values of the nodes); it shares the given one's tensors."""
    wider = shallow_copy(network)
    by_name = {node.name: node for node in wider.graph.nodes}
    output = next(node for node in wider.graph.nodes if node.op == "output")
    output.args = ((output.args[0], *(by_name[name] for name in nodes)),)
    wider.recompile()
    return wider


def up_to(network: fx.GraphModule, name: str) -> fx.GraphModule:
    """The part of a network that computes one node, which it returns; it shares the given one's tensors."""
    shorter = shallow_copy(network)
    by_name = {node.name: node for node in shorter.graph.nodes}
    next(node for node in shorter.graph.nodes if node.op == "output").args = (by_name[name],)
    shorter.graph.eliminate_dead_code()
    shorter.recompile()
    return shorter
