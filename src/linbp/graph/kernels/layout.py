"""The order in which a network's feature maps lie in memory.

This comes before the rewriting and is no pass over the finished graph: it lays out the weights of the captured network,
which are shared by the networks of all rules, and the images have to come in the same order.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import fx

from linbp.graph.capture.constants import constant
from linbp.graph.structure.operations import CONVOLUTIONS

__all__ = ["MemoryFormat", "best_memory_format", "in_memory_format"]

MemoryFormat = Literal["contiguous", "channels_last"]
CONVOLUTION_RANK = 4


def best_memory_format(network: fx.GraphModule) -> MemoryFormat:
    """The faster order, by the kinds of layers and not by a stopwatch, so that reruns compute the same bits.

    channels_last for float32 and smaller floats where the network has two-dimensional convolutions with kernels larger
    than their stride (patch embeddings are matrix products in disguise); float64 has no fast kernels for it.
    """
    for node in network.graph.nodes:
        if node.op != "call_function" or node.target not in CONVOLUTIONS:
            continue
        weight = constant(network, node.args[1])
        if weight is None or weight.ndim != CONVOLUTION_RANK or weight.dtype == torch.float64:
            continue
        stride = node.args[3] if len(node.args) > 3 else (1, 1)
        if weight.shape[-1] > (stride[0] if isinstance(stride, tuple | list) else int(stride)):
            return "channels_last"
    return "contiguous"


def in_memory_format(network: fx.GraphModule, memory_format: MemoryFormat) -> fx.GraphModule:
    """The network with its convolutions' weights in the given order (in place)."""
    if memory_format == "channels_last":
        for name, tensor in list(network.named_buffers()):
            if tensor.ndim == CONVOLUTION_RANK:
                network.register_buffer(name, tensor.contiguous(memory_format=torch.channels_last))
    return network
