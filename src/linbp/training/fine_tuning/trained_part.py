"""Which part of a network is trained: everything, or what comes from a position on."""

from __future__ import annotations

from torch import fx, nn

from linbp.errors import RuleError
from linbp.graph import Position, Structure, first_site
from linbp.training.fine_tuning.modes import attribute, without_statistics

__all__ = ["choose_trained"]


def choose_trained(
    network: fx.GraphModule, structure: Structure, train_from: Position | None, *, untrained: bool = False
) -> tuple[list[nn.Parameter], list[fx.Node], list[str]]:
    """The parameters that are trained, the operations that may train, and notes for the user.

    Parameters that are read before the position, or there too, stay as they are: `requires_grad` of every parameter
    says which.

    Args:
        network: a functional graph.
        structure: of the model.
        train_from: the first position that is trained; None: everything.
        untrained: whether the network was never trained, so that batch norms without statistics are simply new.

    Raises:
        RuleError: nothing is left to train.
    """
    nodes = _operations_from(network, structure, train_from)
    trained_names = _read_by(nodes) - _read_by(set(network.graph.nodes) - set(nodes))
    trained = {id(attribute(network, node)) for node in network.graph.nodes if str(node.target) in trained_names}
    for parameter in network.parameters():
        parameter.requires_grad_(id(parameter) in trained and parameter.is_floating_point())
        parameter.grad = None
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not parameters:
        raise RuleError(
            f"No parameter is read from {train_from!r} on, so there is nothing to train.",
            "Start to train earlier, or leave --train-from out.",
        )
    bare = set() if untrained else {node for node in nodes if without_statistics(network, node)}
    notes = []
    if bare:
        notes.append(
            f"{len(bare)} batch norms hold no statistics (mean 0, variance 1): they were folded into the layers in "
            "front of them, so they keep computing what they do"
        )
    return parameters, [node for node in nodes if node not in bare], notes


def _read_by(nodes: set[fx.Node] | list[fx.Node]) -> set[str]:
    """Names of the tensors that some operations read."""
    return {str(source.target) for node in nodes for source in node.all_input_nodes if source.op == "get_attr"}


def _operations_from(network: fx.GraphModule, structure: Structure, position: Position | None) -> list[fx.Node]:
    """The operations from a position on; all without one."""
    nodes = [node for node in network.graph.nodes if node.op not in ("placeholder", "get_attr")]
    if position is None:
        return nodes
    if isinstance(position, str) and position in structure.entries:
        first = structure.entries[position]
    else:
        first = structure.ranks[structure.sites[first_site(position, structure)].node]
    rank, found = 0, []
    for node in nodes:
        rank = structure.ranks.get(node.name, rank)
        if rank >= first:
            found.append(node)
    return found
