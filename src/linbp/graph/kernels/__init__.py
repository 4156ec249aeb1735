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

__all__ = ["PASSES", "accelerate"]

PASSES: dict[str, Callable[[fx.GraphModule], int]] = {
    "overwrite": overwrite,
    "stem": stem,
    "patches": patches,
    "entry": entry,
}
"""In their order: which operations write over their inputs is read off the graph as it was."""


def accelerate(network: fx.GraphModule, *, onednn: bool = False) -> fx.GraphModule:
    """The network after all passes, branches included; it is changed in place.

    Args:
        network: finished.
        onednn: whether oneDNN computes 1 x 1 convolutions, which changes the last bits.
    """
    graphs = [module for module in network.modules() if isinstance(module, fx.GraphModule)]
    for apply in PASSES.values():
        for graph in graphs:
            apply(graph)
    for graph in graphs if onednn else ():
        pointwise(graph)
    for graph in graphs:
        graph.graph.eliminate_dead_code()
        graph.recompile()
    return network
