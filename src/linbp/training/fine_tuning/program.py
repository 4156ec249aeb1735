"""A network's program over tensors of its own: activations are taken out of it, and what is left can be trained."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram

from linbp.errors import CaptureError
from linbp.graph import Site, Surrogate
from linbp.graph.capture.composite import gather_composites
from linbp.graph.capture.export import export
from linbp.graph.capture.functional import functional_graph
from linbp.graph.capture.untouched import untouched
from linbp.graph.structure.module_paths import module_path
from linbp.graph.structure.operations import activation_name
from linbp.models import Model
from linbp.models.evaluation_mode import evaluation_mode
from linbp.models.plain_mode import plain_mode
from linbp.models.torch_messages import suppress_torch_messages
from linbp.training.fine_tuning.modes import DROPOUTS

__all__ = ["Program"]

aten = torch.ops.aten


class Program:
    """The exported program of a model over copies of its tensors; nothing that is done to it reaches the model.

    A removed activation becomes `aten.alias`, the identity, under the module path and the name that it had, so that
    positions by module path mean the same place as before.

    Args:
        model: any differentiable model.

    Attributes:
        model: the model.
        structure: the sites and junctions, numbered as `linbp inspect` shows them.
        classes: number of logits.
        program: as it is now.
        notes: what a user should know, in words.

    Raises:
        ModelError, CaptureError: as for `Surrogate`.
    """

    def __init__(self, model: Model) -> None:
        surrogate = Surrogate(model, fold_batch_norm=False, memory_format="contiguous")
        self.model, self.structure, self.classes = model, surrogate.structure, surrogate.classes
        self.notes: list[str] = []
        self.program = _own_program(model)
        places = self._find_sites()
        if not self._holds(places):
            # Activations that write into a part of another value exist in the functional form of the program only.
            if any(node.target in DROPOUTS for node in self.program.graph.nodes):
                self.notes.append("dropout is not active while tuning: the network writes into parts of its own values")
            self.program = self.program.run_decompositions({})
            places = self._find_sites()
        self._places = places

    def nodes_of(self, sites: Iterable[int]) -> list[str]:
        """The names of the nodes of sites, in every network of this program."""
        return [self._places[index][0] for index in sites]

    def remove(self, sites: Iterable[int]) -> None:
        """Make the activations of these numbers the identity."""
        graph = self.program.graph_module.graph
        nodes = {node.name: node for node in graph.nodes}
        for index in sites:
            end, value = self._places[index]
            node = nodes[end]
            node.target, node.args, node.kwargs = aten.alias.default, (nodes[value],), {}
            for what_it_was in ("torch_fn", "source_fn_stack"):
                node.meta.pop(what_it_was, None)
        graph.eliminate_dead_code()
        self.program.graph_module.recompile()

    def network(self, device: torch.device) -> fx.GraphModule:
        """The program as a module on `device` whose parameters have the names of the user's.

        On the device of the program the tensors are the program's own.
        """
        network = functional_graph(self.program)
        # A module of a program forbids train() and eval(); here they do something once the modes can be switched.
        for method in ("train", "eval"):
            vars(network).pop(method, None)
        for node in network.graph.nodes:
            if "device" in node.kwargs:
                node.kwargs = {**node.kwargs, "device": device}
        network.recompile()
        return network.to(device)

    def finish(self, network: fx.GraphModule, what: str) -> Model:
        """A model of the program with the tensors of `network`, which `network()` made of it, on the model's device.

        Its name says what it is of the first model. The next call gives the program other tensors.
        """
        tuned = network.state_dict(keep_vars=True)
        made: dict[int, torch.Tensor] = {}  # one copy of a tensor that has two names
        state = {
            name: made.setdefault(id(tuned[name]), _like(tensor, tuned[name]))
            for name, tensor in self.program.state_dict.items()
        }
        self.program._state_dict = state
        module = self.program.module()
        for method in ("train", "eval"):
            vars(module).pop(method, None)
        old = self.model
        model = Model(
            module,
            **old.preprocessing_arguments,
            name=f"{old.name}, {what}",
            source=old.source,
            program=self.program,
        )
        model.class_names = old.class_names
        return model

    def _find_sites(self) -> dict[int, tuple[str, str]]:
        """The names of each site's node and of its input's, by the site's number.

        An activation that the module spells out with arithmetic is the last node of what it wrote.
        """
        network = functional_graph(self.program)
        for node in network.graph.nodes:
            node.meta["written"] = node.name
        gather_composites(network)
        nodes = {node.name: node for node in network.graph.nodes}
        return {site.index: self._place(site, nodes.get(site.node)) for site in self.structure.sites}

    def _place(self, site: Site, node: fx.Node | None) -> tuple[str, str]:
        """One site's node and its input in the program, which may call the images by another name than the graph."""
        if node is None or activation_name(node) != site.op or module_path(node) != site.module_path:
            raise CaptureError(
                f"Site {site.index} ({site.op} in {site.module_path!r}) is not found again in a second export of "
                f"{self.model.name}.",
                "Its forward probably takes another way at each call: write it as a pure function of its input.",
            )
        value: Any = node.args[0]
        images = str(self.program.graph_signature.user_inputs[0])
        return str(node.meta["written"]), images if value.op == "placeholder" else str(value.name)

    def _holds(self, places: dict[int, tuple[str, str]]) -> bool:
        names = {node.name for node in self.program.graph.nodes}
        return all(name in names for place in places.values() for name in place)


def _own_program(model: Model) -> ExportedProgram:
    """A program of the model whose graph and tensors nobody else has."""
    if model.program is not None:
        # Copying a graph in memory renames its input; writing and reading it does not.
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.export.save(model.program, buffer)
            buffer.seek(0)
            return torch.export.load(buffer)
    with plain_mode(), evaluation_mode(model) as ready, untouched(ready), suppress_torch_messages():
        program = export(ready.module, model.input_size, model.name)
    made: dict[int, torch.Tensor] = {}  # one copy of a tensor that has two names
    program._state_dict = {
        name: made.setdefault(id(tensor), _like(tensor, tensor)) for name, tensor in program.state_dict.items()
    }
    return program


def _like(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """A copy of `new` on the device of `old`, a parameter where that is one."""
    value = new.detach().to(old.device, copy=True)
    return nn.Parameter(value, requires_grad=value.is_floating_point()) if isinstance(old, nn.Parameter) else value
