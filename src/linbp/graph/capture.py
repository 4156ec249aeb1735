"""From a model to a frozen, functional graph with its sites and junctions."""

from __future__ import annotations

import copy
import hashlib
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx
from torch.export import ExportedProgram

from linbp.errors import CaptureError
from linbp.graph import cache as programs
from linbp.graph.analysis import Structure, analyse, module_paths
from linbp.graph.composite import gather_composites
from linbp.graph.constants import fold_constants, freeze
from linbp.graph.content import content_key
from linbp.graph.export import export, untouched
from linbp.graph.fold import affine_batch_norm, fold_batch_norm
from linbp.graph.functional import functional_graph
from linbp.models.model import Model, weights_sha256

__all__ = ["Capture", "capture"]

AGREEMENT = 1e-5
"""Largest relative difference that folding may make to logits and gradients."""
SAME_FUNCTION = {torch.float64: 1e-9, torch.float32: 1e-3}
"""Largest relative difference between the graph's logits and the module's: kernels may differ, functions may not."""


@dataclass(frozen=True, kw_only=True)
class Capture:
    """A network as a graph.

    Attributes:
        network: maps images (N, C, H, W) in [0, 1], of the model's input size, to logits; nothing in it needs
            gradients.
        structure: its sites and junctions.
        classes: number of logits.
        notes: what was decided at capture, in words.
    """

    network: fx.GraphModule
    structure: Structure
    classes: int
    notes: tuple[str, ...]


def capture(model: Model, *, fold: bool = True, cache: bool = True) -> Capture:
    """Capture a model; its module, its hooks and flags, its gradients and the random state stay as they are.

    Args:
        model: any differentiable model.
        fold: fold batch norms into convolutions where logits and gradients of a test batch agree to 1e-5 relative.
        cache: keep the exported program on disk.

    Raises:
        CaptureError: the network cannot be traced, takes one batch size only, or the graph computes something else.
    """
    with untouched(model):
        program = _program(model, cache)
        probe = _probe(model)
        _stir()
        expected = model.logits(probe)
        try:
            network = _graph(program, model)
            _compare(network, probe, expected, model.name)
        except CaptureError:
            if not cache or model.program is not None:
                raise
            # a stored program can be of a helper function that has changed since: once more, from the module
            program = _program(model, cache, anew=True)
            network = _graph(program, model)
            _compare(network, probe, expected, model.name)
        ranks = {node.name: rank for rank, node in enumerate(network.graph.nodes)}
        entries: dict[str, int] = {}
        for node in network.graph.nodes:
            if node.op == "call_function":
                for path in module_paths(node):
                    entries.setdefault(path, ranks[node.name])
        gather_composites(network)
        notes: list[str] = []
        if fold and _has_batch_norm(network):
            network, note = _folded(network, probe, _verdict_key(model) if cache else None)
            notes += note
        affine_batch_norm(network)
        sites, junctions = analyse(network.graph)
        structure = Structure(sites=sites, junctions=junctions, ranks=_ranks(network.graph, ranks), entries=entries)
        return Capture(network=network, structure=structure, classes=expected.shape[1], notes=tuple(notes))


def _stir() -> None:
    """Move every random state on, so that a network that draws numbers does not draw those of its export again."""
    random.random()
    np.random.random()
    torch.rand(())


def _program(model: Model, cache: bool, *, anew: bool = False) -> ExportedProgram:
    if model.program is not None:
        return model.program
    key = content_key(model.module, model.input_size) if cache else None
    stored = programs.load(key, model.module) if key and not anew else None
    if stored is not None:
        return stored
    program = export(model.module, model.input_size, model.name)
    if key:
        programs.store(key, program)
    return program


def _graph(program: ExportedProgram, model: Model) -> fx.GraphModule:
    network = freeze(functional_graph(program))
    images = [node for node in network.graph.nodes if node.op == "placeholder"]
    if len(images) != 1:
        raise CaptureError(
            f"{model.name} takes {len(images)} inputs.", "Wrap it in a module whose forward takes the images only."
        )
    if not isinstance(images[0].meta["val"].shape[0], torch.SymInt):
        raise CaptureError(f"{model.name} takes batches of {images[0].meta['val'].shape[0]} only.", _FIXED_BATCH)
    answers = next(node for node in network.graph.nodes if node.op == "output").args[0]
    if isinstance(answers, tuple | list) and len(answers) != 1:
        raise CaptureError(
            f"{model.name} returns {len(answers)} things.", "Wrap it in a module whose forward returns the logits only."
        )
    _normalise(network, model, images[0])
    fold_constants(network)
    _return_logits(network)
    network.recompile()
    return network


def _normalise(network: fx.GraphModule, model: Model, images: fx.Node) -> None:
    """Put (image - mean) / std behind the input."""
    if not any(model.mean) and all(value == 1 for value in model.std):
        return
    users = list(images.users)
    value = images
    steps = (("mean", model.mean, torch.ops.aten.sub.Tensor), ("std", model.std, torch.ops.aten.div.Tensor))
    for name, numbers, operation in steps:
        tensor = torch.tensor(numbers, dtype=model.dtype, device=model.device).view(1, -1, 1, 1)
        network.register_buffer(f"input_{name}", tensor)
        with network.graph.inserting_after(value):
            attribute = network.graph.get_attr(f"input_{name}")
        with network.graph.inserting_after(attribute):
            step = network.graph.call_function(operation, (value, attribute))
        attribute.meta["val"], step.meta["val"] = tensor, images.meta["val"]
        value = step
    for user in users:
        if user.target is not torch.ops.aten.sym_size.int:
            user.replace_input_with(images, value)


def _return_logits(network: fx.GraphModule) -> None:
    """An exported graph returns a tuple of one; return what is in it."""
    output = next(node for node in network.graph.nodes if node.op == "output")
    answer = output.args[0]
    if isinstance(answer, tuple | list):
        output.args = (answer[0],)
    network.graph.set_codegen(fx.graph.CodeGen())


def _probe(model: Model) -> torch.Tensor:
    """Two images of smooth noise: the same for everybody."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, model.input_size[0], 8, 8, generator=draw, dtype=torch.float64)
    fine = torch.nn.functional.interpolate(coarse, size=model.input_size[1:], mode="bicubic", align_corners=False)
    grain = torch.rand(fine.shape, generator=draw, dtype=torch.float64)
    images = (0.9 * fine + 0.1 * grain).clamp(0, 1)
    return (images * 255).round().div(255).to(device=model.device, dtype=model.dtype)


def _compare(network: fx.GraphModule, probe: torch.Tensor, expected: torch.Tensor, name: str) -> None:
    """Compare logits, with one image more in the graph's batch than in the module's: neither may depend on it."""
    with torch.no_grad():
        try:
            found = network(torch.cat([probe, probe[:1]]))
        except (RuntimeError, ValueError, IndexError) as fault:
            raise CaptureError(f"{name} takes batches of {len(probe)} only.", _FIXED_BATCH) from fault
    if isinstance(found, torch.Tensor):
        found = found[: len(probe)]
    if not isinstance(found, torch.Tensor) or found.shape != expected.shape:
        raise CaptureError(f"The graph of {name} returns something else than the module does.", _DATA_DEPENDENT)
    worst = _difference(found, expected)
    if not worst <= SAME_FUNCTION.get(probe.dtype, 5e-2):
        raise CaptureError(
            f"The logits of the graph of {name} differ from the module's by {worst:.1e}.", _DATA_DEPENDENT
        )


_FIXED_BATCH = (
    "Export it with a free batch size (dynamic_shapes=({0: Dim.AUTO},)), or write its forward so that the batch size "
    "is not a fixed number (reshape(x.shape[0], ...))."
)
_DATA_DEPENDENT = (
    "Its forward probably draws random numbers in evaluation mode, keeps state between calls, branches on values or "
    "mixes the images of a batch: write it as a pure function of each image."
)


def _has_batch_norm(network: fx.GraphModule) -> bool:
    return any(node.target is torch.ops.aten.batch_norm.default for node in network.graph.nodes)


def _verdict_key(model: Model) -> str | None:
    """What the difference that folding makes depends on: the program, the weights, and the input's scale."""
    key = None if model.program is not None else content_key(model.module, model.input_size)
    if key is None:
        return None
    facts = (key, weights_sha256(model.module.state_dict()), model.mean, model.std)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _folded(network: fx.GraphModule, probe: torch.Tensor, key: str | None) -> tuple[fx.GraphModule, list[str]]:
    """The network with batch norms folded if that agrees, else as it was; with a note where there were any.

    The comparison is in float64, folded weights included. In float32 the gradients of any two ways to compute a deep
    network differ by more than 1e-5, because activations within rounding of zero fall on either side of it; that says
    nothing about folding. It takes longer than all the rest, so its outcome is kept on disk beside the program.
    """
    trial = copy.deepcopy(network)
    count = fold_batch_norm(trial)
    if count == 0:
        return network, []
    worst = programs.recall(key) if key else None
    if worst is None:
        worst = _folding_error(network, probe[:1].double())
        if key:
            programs.remember(key, worst)
    if worst <= AGREEMENT:
        return trial, [f"{count} batch norms folded into convolutions (logits and gradients agree to {worst:.0e})"]
    return network, [f"batch norms kept: folding {count} of them would change logits or gradients by {worst:.0e}"]


def _folding_error(network: fx.GraphModule, images: torch.Tensor) -> float:
    """The largest relative difference that folding makes to logits and gradient, in float64."""
    wide, folded = _widened(network), _widened(network)
    fold_batch_norm(folded)
    affine_batch_norm(wide)
    affine_batch_norm(folded)
    before, after = _logits_and_gradient(wide, images), _logits_and_gradient(folded, images)
    return max(_difference(found, expected) for found, expected in zip(after, before, strict=True))


def _widened(network: fx.GraphModule) -> fx.GraphModule:
    """A copy that computes in float64, also where the graph names another float."""
    wide = copy.deepcopy(network).double()
    for node in wide.graph.nodes:
        node.args, node.kwargs = fx.node.map_aggregate((node.args, node.kwargs), _wide)
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


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """|found - expected| / |expected|, in L2 norms over everything."""
    scale = expected.double().norm().item()
    return (found.double() - expected.double()).norm().item() / scale if scale > 0 else float(found.double().norm())


def _ranks(graph: fx.Graph, ranks: dict[str, int]) -> dict[str, int]:
    """Places in execution order, also for nodes that were put in later: those of the node in front of them."""
    found: dict[str, int] = {}
    last = 0
    for node in graph.nodes:
        last = ranks.get(node.name, last)
        found[node.name] = last
    return found
