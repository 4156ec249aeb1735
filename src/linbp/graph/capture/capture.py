"""From a model to a frozen, functional graph with its sites and junctions."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import fx
from torch.export import ExportedProgram

from linbp.errors import CaptureError
from linbp.graph.capture import cache as programs
from linbp.graph.capture.composite import gather_composites
from linbp.graph.capture.constants import fold_constants, freeze, shallow_copy
from linbp.graph.capture.content import content_key
from linbp.graph.capture.export import export, untouched
from linbp.graph.capture.fold import affine_batch_norm, fold_batch_norm
from linbp.graph.capture.folding import difference, folded
from linbp.graph.capture.functional import functional_graph
from linbp.graph.structure.feature_maps import module_outputs
from linbp.graph.structure.module_paths import module_paths
from linbp.graph.structure.structure import Structure, analyse
from linbp.models.model import Model, weights_sha256

__all__ = ["Capture", "capture"]

SAME_FUNCTION = {torch.float64: 1e-9, torch.float32: 1e-3}
"""Largest relative difference between the graph's logits and the module's: kernels may differ, functions may not."""

SAME_ACTIVATIONS = 1e-4
"""As above, between activations that the module writes out, with constants of few digits, and whole ones."""


@dataclass(frozen=True, kw_only=True)
class Capture:
    """A network as a graph.

    Attributes:
        network: maps images (N, C, H, W) in [0, 1], of the model's input size, to logits; nothing in it needs
            gradients.
        structure: its sites and junctions.
        classes: number of logits.
        notes: what was decided at capture, in words.
        unfolded: the network with its batch norms, from before they were folded or written as affine maps.
        layers: the layers that batch norms were folded into, by the names of their nodes.
    """

    network: fx.GraphModule
    structure: Structure
    classes: int
    notes: tuple[str, ...]
    unfolded: fx.GraphModule
    layers: frozenset[str]

    def keeping(self, layers: Collection[str]) -> Capture:
        """The same network with the batch norms behind some layers kept, so that the layers' own values can be read.

        Args:
            layers: names of nodes.
        """
        network = shallow_copy(self.unfolded)
        merged = fold_batch_norm(network, keep=layers)
        notes = [note for note in self.notes if not note.endswith(_READ)]
        return _finished(self, network, merged, (*notes, f"{len(layers)} batch norms kept: {_READ}"))


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
        written, gathered = shallow_copy(network), gather_composites(network)
        notes: list[str] = []
        if gathered and _off(network, probe, expected) <= max(SAME_ACTIVATIONS, SAME_FUNCTION.get(probe.dtype, 5e-2)):
            notes.append(f"activations written with arithmetic computed as whole ones: {gathered}")
        elif gathered:
            network = written
        started = Capture(
            network=network,
            structure=Structure(ranks=ranks, entries=entries),
            classes=expected.shape[1],
            notes=(),
            unfolded=network,
            layers=frozenset(),
        )
        merged: dict[str, str] = {}
        if fold and _has_batch_norm(network):
            network, merged, of_folding = folded(network, probe, _verdict_key(model) if cache else None)
            notes += of_folding
        return _finished(started, shallow_copy(network) if not merged else network, merged, tuple(notes))


def _finished(capture: Capture, network: fx.GraphModule, merged: dict[str, str], notes: tuple[str, ...]) -> Capture:
    """The capture with another form of its network, analysed.

    Args:
        capture: with the unfolded network.
        network: a form of it that is changed here.
        merged: the layer that each folded batch norm went into, by the names of their nodes.
        notes: of the new capture.
    """
    written = affine_batch_norm(network)
    structure = dataclasses.replace(
        analyse(network.graph),
        ranks=_ranks(network.graph, capture.structure.ranks),
        entries=capture.structure.entries,
        outputs=module_outputs(capture.unfolded.graph, {**merged, **written}),
    )
    return dataclasses.replace(
        capture, network=network, structure=structure, notes=notes, layers=frozenset(merged.values())
    )


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
    worst = difference(found, expected)
    if not worst <= SAME_FUNCTION.get(probe.dtype, 5e-2):
        raise CaptureError(
            f"The logits of the graph of {name} differ from the module's by {worst:.1e}.", _DATA_DEPENDENT
        )


def _off(network: fx.GraphModule, probe: torch.Tensor, expected: torch.Tensor) -> float:
    """How far the graph's logits are from the module's."""
    with torch.no_grad():
        return difference(network(probe), expected)


_READ = "the values in front of them are read"
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


def _ranks(graph: fx.Graph, ranks: Mapping[str, int]) -> dict[str, int]:
    """Places in execution order, also for nodes that were put in later: those of the node in front of them."""
    found: dict[str, int] = {}
    last = 0
    for node in graph.nodes:
        last = ranks.get(node.name, last)
        found[node.name] = last
    return found
