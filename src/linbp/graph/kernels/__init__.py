"""Faster forms of a finished graph, with the same values.

Each pass is a function of a finished network that changes it in place and returns how often it did. What each gains is
measured in `docs/performance.md`; `python benchmarks/kernels.py` measures it again.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import fx

from linbp.graph.kernels.entry import entry
from linbp.graph.kernels.overwrite import overwrite
from linbp.graph.kernels.patches import patches
from linbp.graph.kernels.pointwise import pointwise
from linbp.graph.kernels.stem import stem
from linbp.graph.kernels.winograd import winograd

__all__ = ["ONEDNN", "PASSES", "accelerate"]

PASSES: dict[str, Callable[[fx.GraphModule], int]] = {
    "overwrite": overwrite,
    "stem": stem,
    "patches": patches,
    "entry": entry,
}
"""In their order: which operations write over their inputs is read off the graph as it was."""

ONEDNN: dict[str, Callable[[fx.GraphModule, int], int]] = {
    "pointwise": lambda network, _: pointwise(network),
    "winograd": winograd,
}
"""More, of a network that computes so many images at a time: oneDNN instead of torch, and fewer multiplications. They
change the last bits."""


def accelerate(network: fx.GraphModule, images: int | None = None) -> fx.GraphModule:
    """The network after all passes, branches included; it is changed in place.

    Args:
        network: finished.
        images: that it computes at a time, for the passes of `ONEDNN`; None: without these.
    """
    graphs = [module for module in network.modules() if isinstance(module, fx.GraphModule)]
    for apply in PASSES.values():
        for graph in graphs:
            apply(graph)
    if images is not None:
        for more in ONEDNN.values():
            for graph in graphs:
                more(graph, images)
    for graph in graphs:
        graph.graph.eliminate_dead_code()
        graph.recompile()
    return network
