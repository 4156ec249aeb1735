"""From a model to a frozen, functional graph with its sites and junctions."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import fx

from linbp.errors import CaptureError, LinbpError
from linbp.graph.capture.composite import gather_composites
from linbp.graph.capture.constants import shallow_copy
from linbp.graph.capture.content import content_key
from linbp.graph.capture.export import refuse_untraceable
from linbp.graph.capture.fold import affine_batch_norm, fold_batch_norm
from linbp.graph.capture.folding import difference, folded
from linbp.graph.capture.graph import graph_of
from linbp.graph.capture.owner import Owner, images_of_noise
from linbp.graph.capture.untouched import untouched
from linbp.graph.capture.where import first_line
from linbp.graph.structure.feature_maps import module_outputs
from linbp.graph.structure.module_paths import module_paths
from linbp.graph.structure.structure import Structure, analyse
from linbp.models.evaluation_mode import evaluation_mode
from linbp.models.identity import weights_sha256
from linbp.models.logits import LogitsOnly
from linbp.models.model import Model
from linbp.models.plain_mode import plain_mode
from linbp.models.torch_messages import suppress_torch_messages
from linbp.version import __version__

__all__ = ["Capture", "capture"]

SAME_ACTIVATIONS = {torch.float64: 1e-4, torch.float32: 1e-3}
"""Largest relative difference between the logits with activations as the module writes them out, with constants of few
digits, and with whole ones."""


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
        batches: fewest and most images that the network takes at a time.
    """

    network: fx.GraphModule
    structure: Structure
    classes: int
    notes: tuple[str, ...]
    unfolded: fx.GraphModule
    layers: frozenset[str]
    batches: tuple[int, int]

    def keeping(self, layers: Collection[str]) -> Capture:
        """The same network with the batch norms behind some layers kept, so that the layers' own values can be read.

        Args:
            layers: names of nodes.
        """
        network = shallow_copy(self.unfolded)
        merged = fold_batch_norm(network, keep=layers)
        notes = [note for note in self.notes if not note.endswith(_READ)]
        return _finished(self, network, merged, (*notes, f"{len(layers)} batch norms kept: {_READ}"))


def capture(model: Model, *, fold: bool = True, cache: bool = True, check: bool = True) -> Capture:
    """Capture a model; its module, its hooks and flags, its gradients and the random state stay as they are.

    Args:
        model: any differentiable model.
        fold: fold batch norms into convolutions where logits and gradients of a test batch agree to 1e-5 relative.
        cache: keep the exported program on disk.
        check: compare logits and gradients with the module's own, on four images in batches of two sizes.

    Raises:
        CaptureError: the network cannot be traced, takes one batch size only, gives the images no gradient, or the
            graph computes something else than the module does.
        ModelError: the module returns no finite logits.
    """
    # Resizing and a crop come before the graph, and would change the images that it is compared on.
    with plain_mode(), evaluation_mode(_trainable(model.with_crop(None))) as ready, suppress_torch_messages():
        try:
            return _captured(ready, fold=fold, key=_key(ready) if cache else None, check=check)
        except (LinbpError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as fault:  # torch's own code, on a graph that nobody has thought of
            raise CaptureError(
                f"{model.name} cannot be captured: {first_line(fault)}",
                "Write its forward with simpler operations; as a victim linbp takes the network as it is.",
            ) from fault


def _trainable(model: Model) -> Model:
    """The model, or a copy where its tensors were made under `inference_mode`, through which no gradient passes."""
    tensors = (*model.module.parameters(), *model.module.buffers())
    return copy.deepcopy(model) if any(tensor.is_inference() for tensor in tensors) else model


def _of_logits(model: Model) -> Model:
    """A model that answers with more than logits, as one that answers with them; the given one stays as it is."""
    other = copy.copy(model)
    other._modules = {**model._modules, "module": LogitsOnly(model.module)}
    return other


def _key(model: Model) -> str | None:
    if model.program is None:
        return content_key(model.module, model.input_size)
    file = model.source.get("file_sha256")  # its program is not stored again, but what was found out about it is
    return hashlib.sha256(f"{torch.__version__} {__version__} {file}".encode()).hexdigest() if file else None


def _captured(model: Model, *, fold: bool, key: str | None, check: bool) -> Capture:
    if model.program is None:
        refuse_untraceable(model.module, model.name)
    owner = None
    if check:
        with untouched(model):  # what it keeps from these calls must not be in the program
            owner = Owner.asked(model)
        if owner.selects:
            owner.model = model = _of_logits(model)
    with untouched(model):
        found = graph_of(model, owner, key)
    network, notes = found.network, list(found.notes)
    probe = images_of_noise(model)[:2]
    with torch.no_grad():
        expected = network(probe)
    ranks = {node.name: rank for rank, node in enumerate(network.graph.nodes)}
    entries: dict[str, int] = {}
    for node in network.graph.nodes:
        if node.op == "call_function":
            for path in module_paths(node):
                entries.setdefault(path, ranks[node.name])
    written, gathered = shallow_copy(network), gather_composites(network)
    if gathered and _off(network, probe, expected) <= SAME_ACTIVATIONS.get(probe.dtype, 5e-2):
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
        batches=found.batches,
    )
    merged: dict[str, str] = {}
    if fold and _has_batch_norm(network):
        network, merged, of_folding = folded(network, probe, _verdict_key(model, key))
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


def _off(network: fx.GraphModule, probe: torch.Tensor, expected: torch.Tensor) -> float:
    """How far the graph's logits are from the module's."""
    with torch.no_grad():
        return difference(network(probe), expected)


_READ = "the values in front of them are read"


def _has_batch_norm(network: fx.GraphModule) -> bool:
    return any(node.target is torch.ops.aten.batch_norm.default for node in network.graph.nodes)


def _verdict_key(model: Model, key: str | None) -> str | None:
    """What the difference that folding makes depends on: the program, the weights, and the input's scale."""
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
