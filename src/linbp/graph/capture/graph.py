"""A model's graph: from the cache where it still fits, else exported, and checked against the user's module."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import fx
from torch.export import ExportedProgram

from linbp.errors import CaptureError
from linbp.graph.capture import cache as programs
from linbp.graph.capture.compare import GradientFault, agrees, check_gradients, check_logits_of
from linbp.graph.capture.constants import fold_constants, freeze
from linbp.graph.capture.export import export
from linbp.graph.capture.functional import functional_graph
from linbp.graph.capture.gradient_path import ends_of_gradient
from linbp.graph.capture.owner import FIXED_BATCH, Owner
from linbp.graph.capture.where import place_of
from linbp.graph.capture.written_gradients import restored
from linbp.models.model import Model

__all__ = ["Graph", "graph_of"]

OVERWRITES = (
    "the module's own backward pass fails: it writes over its values, or has operations without a derivative; the "
    "gradient is the graph's"
)
RECURRENT = tuple(getattr(torch.ops.aten, name).input for name in ("lstm", "gru", "rnn_tanh", "rnn_relu"))
"""Layers that get a first state, (layers, images, width), beside their input."""
MANY = 2**31
"""Images: no batch is larger."""


@dataclass(frozen=True)
class Graph:
    """A model's graph.

    Attributes:
        network: maps images (N, C, H, W) in [0, 1], of the model's input size, to logits.
        batches: fewest and most images that it takes at a time.
        notes: what a user should know of it.
    """

    network: fx.GraphModule
    batches: tuple[int, int]
    notes: tuple[str, ...] = ()


def graph_of(model: Model, owner: Owner | None, key: str | None) -> Graph:
    """The graph of a model.

    Args:
        model: in evaluation mode.
        owner: what its module says, which the graph has to say too; None: nothing is compared.
        key: what its program is kept under on disk, or None.

    Raises:
        CaptureError: there is none, it says something else, or no gradient reaches the images.
    """
    if model.program is not None:
        return _checked(_made(model.program, model), owner)
    stored = programs.load(key, model.module) if key and not (owner is not None and owner.unproved) else None
    if stored is not None and (found := _still_fits(stored, model, owner)) is not None:
        return found
    try:
        program = export(model.module, model.input_size, model.name)
    except CaptureError as fault:
        if owner is not None and owner.blind:
            raise _no_gradient(model.name, []) from fault
        raise
    try:
        found = _checked(_made(program, model), owner)
        if owner is not None and owner.unproved:
            raise GradientFault(
                f"The gradient of {model.name} is zero or not finite at every image of noise that was tried, so that a "
                f"backward pass of its own making cannot be compared: {', '.join(owner.written)}.",
                "Take the hook off (handle.remove()), or check the network's weights and input range.",
            )
    except GradientFault as fault:
        return _followed(model, owner, fault)
    if key:
        programs.store(key, program)
    return found


def _still_fits(stored: ExportedProgram, model: Model, owner: Owner | None) -> Graph | None:
    """The graph of a stored program; None where code has changed that the key does not know of."""
    try:
        found = _made(stored, model)
        if owner is None or agrees(found.network, owner, found.batches[1]):
            return _checked(found, owner)
    except CaptureError:
        pass
    return None


def _followed(model: Model, owner: Owner | None, fault: GradientFault) -> Graph:
    """The graph with the backward passes that the user has written.

    It is not stored: a program on disk cannot hold the user's functions.

    Raises:
        GradientFault: that is not what makes the gradient another one.
    """
    if owner is None or not owner.written:
        raise fault
    try:
        found = _made(export(model.module, model.input_size, model.name, written=owner.functions), model)
        found = _checked(found, owner)
    except CaptureError as other:
        raise fault from other
    if owner.unproved and owner.hooked:
        raise fault
    note = f"the module's own backward passes are kept: {', '.join(owner.written)}"
    return Graph(found.network, found.batches, (note,))


def _checked(found: Graph, owner: Owner | None) -> Graph:
    if owner is None:
        return found
    said = check_logits_of(found.network, owner, found.batches[1])
    ends = ends_of_gradient(found.network)
    if owner.blind or (ends and not owner.moves):
        raise _no_gradient(owner.model.name, ends)
    check_gradients(found.network, owner, said)
    return replace(found, notes=(OVERWRITES,)) if owner.overwritten else found


def _no_gradient(name: str, ends: list[fx.Node]) -> CaptureError:
    where = ", ".join(
        f"{str(node.target).split('.')[1] if '.' in str(node.target) else node.name}{place_of(node)}"
        for node in ends[:3]
    )
    return CaptureError(
        f"No gradient reaches the images of {name}{f': it ends at {where}' if where else ''}.",
        "Let gradients pass there (a straight-through estimator: x + (f(x) - x).detach()), or use it as a victim.",
    )


def _made(program: ExportedProgram, model: Model) -> Graph:
    network = freeze(functional_graph(program))
    images = [node for node in network.graph.nodes if node.op == "placeholder"]
    if len(images) != 1:
        raise CaptureError(
            f"{model.name} takes {len(images)} inputs.", "Wrap it in a module whose forward takes the images only."
        )
    batch = images[0].meta["val"].shape[0]
    if not isinstance(batch, torch.SymInt):
        raise CaptureError(f"{model.name} takes batches of {batch} only.", FIXED_BATCH)
    answers = next(node for node in network.graph.nodes if node.op == "output").args[0]
    if isinstance(answers, tuple | list) and len(answers) != 1:
        raise CaptureError(
            f"{model.name} returns {len(answers)} things.", "Wrap it in a module whose forward returns the logits only."
        )
    _normalise(network, model, images[0])
    fold_constants(network)
    _return_logits(network)
    restored(network)
    _refuse_fixed_states(network, model.name)
    return Graph(network, _batches(program, batch))


def _refuse_fixed_states(network: fx.GraphModule, name: str) -> None:
    """Refuse recurrent layers whose first state is of so many images: torch reads and writes past its end for others.

    Raises:
        CaptureError: there is one.
    """
    for node in network.graph.nodes:
        if node.target not in RECURRENT:
            continue
        states = node.args[1] if isinstance(node.args[1], list | tuple) else [node.args[1]]
        if any(state.op == "get_attr" for state in states):
            raise CaptureError(f"The batch size is written into {name}{place_of(node)}: the first state.", FIXED_BATCH)


def _batches(program: ExportedProgram, batch: torch.SymInt) -> tuple[int, int]:
    """Fewest and most images; tracing itself says 2 for the fewest where one is fine too."""
    bounds = program.range_constraints.get(batch.node.expr)
    if bounds is None:
        return 1, MANY
    least, most = int(bounds.lower), bounds.upper
    return least if least > 2 else 1, int(most) if getattr(most, "is_Integer", False) and most < MANY else MANY


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
