"""Max-pools of a captured graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import fx

from linbp.graph.structure.module_paths import module_path
from linbp.graph.structure.operations import MAX_POOL

__all__ = ["MaxPool", "find_pools"]

IMAGE_RANK = 4


@dataclass(frozen=True, kw_only=True)
class MaxPool:
    """One max-pool over windows of a feature map.

    Attributes:
        index: its number in execution order among the max-pools, from 0; sites are numbered by themselves.
        module_path: the module that calls it, as the user's module names it.
        kernel: height and width of the window.
        stride: of the window, in both directions.
        padding: on both sides, with nothing in it: a padded place is never the largest.
        dilation: distance of the window's places.
        shape: of its output, without the batch.
        node: name of its node in the graph.
    """

    index: int
    module_path: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    shape: tuple[int, ...]
    node: str


def find_pools(graph: fx.Graph) -> tuple[MaxPool, ...]:
    """The max-pools of a graph over feature maps, in execution order."""
    found: list[MaxPool] = []
    for node in graph.nodes:
        if node.op != "call_function" or node.target is not MAX_POOL or len(node.meta["val"].shape) != IMAGE_RANK:
            continue
        kernel, stride, padding, dilation = (*node.args[1:5], None, None, None)[:4]
        found.append(
            MaxPool(
                index=len(found),
                module_path=module_path(node),
                kernel=_pair(kernel),
                stride=_pair(stride or kernel),
                padding=_pair(padding or 0),
                dilation=_pair(dilation or 1),
                shape=tuple(int(size) for size in node.meta["val"].shape[1:]),
                node=node.name,
            )
        )
    return tuple(found)


def _pair(sizes: Any) -> tuple[int, int]:
    given = [sizes] if isinstance(sizes, int) else list(sizes)
    return int(given[0]), int(given[-1])
