"""Whether folding batch norms leaves a network what it is: measured, not assumed."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import fx

from linbp.graph.capture import cache as programs
from linbp.graph.capture.constants import constant, shallow_copy
from linbp.graph.capture.fold import affine_batch_norm, fold_batch_norm

__all__ = ["difference", "folded", "widened"]

AGREEMENT = 1e-5
"""Largest relative difference that folding may make to logits and gradients."""

LARGEST = 300_000_000
"""Weights: batch norms of larger networks stay, because the comparison takes more than 20 bytes for each."""

COMPARISON = 2
"""The version of the comparison: outcomes of an older one are not read."""


def folded(
    network: fx.GraphModule, probe: torch.Tensor, key: str | None
) -> tuple[fx.GraphModule, dict[str, str], list[str]]:
    """A copy of the network with batch norms folded if that agrees, else as it was; with a note where there were any.

    The comparison is in float64, folded weights included. In float32 the gradients of any two ways to compute a deep
    network differ by more than 1e-5, because activations within rounding of zero fall on either side of it; that says
    nothing about folding. In float64 one may still do so in one image, so gradients need only agree in one of them. The
    comparison takes longer than all the rest, so its outcome is kept on disk beside the program.

    Args:
        network: a captured network.
        probe: images (N, C, H, W), of which the first two are compared.
        key: what the outcome is kept under, or None.

    Returns:
        The network, the layer that each folded batch norm went into (by the names of their nodes), and the note.
    """
    values = (constant(network, node) for node in network.graph.nodes)
    size = sum(value.numel() for value in values if value is not None)
    if size > LARGEST:
        return network, {}, [f"batch norms kept: with {size:,} weights, comparing takes too much memory"]
    trial = shallow_copy(network)
    merged = fold_batch_norm(trial)
    if not merged:
        return network, {}, []
    kept_as = f"{key}-folding-{COMPARISON}"
    worst = programs.load_number(kept_as) if key else None
    if worst is None:
        try:
            worst = _folding_error(network, probe[:2].double())
        except Exception:  # not every network computes in float64
            worst = math.inf
        if key:
            programs.store_number(kept_as, worst)
    if worst <= AGREEMENT:
        note = f"{len(merged)} batch norms folded into convolutions (logits and gradients agree to {worst:.0e})"
        return trial, merged, [note]
    note = f"batch norms kept: folding {len(merged)} of them would change logits or gradients by {worst:.0e}"
    return network, {}, [note]


def _folding_error(network: fx.GraphModule, images: torch.Tensor) -> float:
    """The largest relative difference that folding makes to logits and, in the better of the images, to gradients."""
    wide = widened(network)
    merged = shallow_copy(wide)
    fold_batch_norm(merged)
    affine_batch_norm(wide)
    affine_batch_norm(merged)
    logits, gradients = _logits_and_gradient(wide, images)
    found_logits, found_gradients = _logits_and_gradient(merged, images)
    gradients_off = min(map(difference, found_gradients, gradients))
    return max(difference(found_logits, logits), gradients_off)


def widened(network: fx.GraphModule) -> fx.GraphModule:
    """A copy that computes in float64, also where the graph names another float."""
    wide = copy.deepcopy(network).double()
    for node in wide.graph.nodes:
        node.args, node.kwargs = fx.node.map_aggregate((node.args, node.kwargs), _wide)
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            # A pass that asks the graph for a value's dtype must not round to the old one.
            node.meta["val"] = value.double()
    wide.recompile()
    return wide


def _wide(argument: Any) -> Any:
    is_float = isinstance(argument, torch.dtype) and argument.is_floating_point
    return torch.float64 if is_float else argument


def _logits_and_gradient(network: fx.GraphModule, probe: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    images = probe.clone().requires_grad_()
    with torch.enable_grad():
        logits = network(images)
        loss = torch.nn.functional.cross_entropy(logits, logits.detach().argmin(1), reduction="sum")
    (gradient,) = torch.autograd.grad(loss, images)
    return logits.detach(), gradient


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """|found - expected| / |expected|, in L2 norms over everything."""
    scale = expected.double().norm().item()
    return (found.double() - expected.double()).norm().item() / scale if scale > 0 else float(found.double().norm())
