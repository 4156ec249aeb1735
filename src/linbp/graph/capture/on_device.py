"""A captured network on another device."""

from __future__ import annotations

import torch
from torch import fx

__all__ = ["on_device"]


def on_device(network: fx.GraphModule, device: torch.device) -> fx.GraphModule:
    """A copy of a captured network on another device, with the devices that its nodes name changed."""
    graph = fx.Graph()
    output = graph.graph_copy(network.graph, {})
    graph.output(output)
    moved = fx.GraphModule(network, graph)
    for node, original in zip(graph.nodes, network.graph.nodes, strict=True):
        node.meta = dict(original.meta)
        if "device" in node.kwargs:
            node.kwargs = {**node.kwargs, "device": device}
    for name, tensor in network.named_buffers():
        moved.register_buffer(name, tensor.to(device))
    moved.recompile()
    return moved
