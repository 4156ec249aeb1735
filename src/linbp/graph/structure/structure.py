"""Everything that rules and objectives can name in a captured graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import fx

from linbp.graph.structure.attention import Attention, Softmax, find_attentions, find_softmaxes
from linbp.graph.structure.concatenations import Concatenation, find_concatenations
from linbp.graph.structure.dominators import Dominators
from linbp.graph.structure.junctions import Junction, find_junctions, innermost_junctions
from linbp.graph.structure.pools import MaxPool, find_pools
from linbp.graph.structure.sites import Site, find_sites

__all__ = ["Output", "Structure", "analyse"]


@dataclass(frozen=True, kw_only=True)
class Output:
    """What one module of the network returns, as a feature map of every image.

    Attributes:
        module_path: as the user's module names it; of a module that is called several times, the last call's.
        node: name of its node in the graph.
        original: name of that node before batch norms were folded; the same for a layer that one was folded into, whose
            value then is the batch norm's.
        shape: without the batch.
        on_every_path: whether everything that reaches the logits goes through it.
    """

    module_path: str
    node: str
    original: str
    shape: tuple[int, ...]
    on_every_path: bool


@dataclass(frozen=True, kw_only=True)
class Structure:
    """The places of a network, and where its modules begin and end.

    Attributes:
        sites: the activations, in execution order, as all that follow.
        junctions: the residual sums.
        ranks: place in execution order of each node, by its name.
        entries: place in execution order of each module's first operation, by module path.
        outputs: what modules return, by module path.
        pools: the max-pools.
        softmaxes: the softmaxes, those inside fused attention left out.
        attentions: fused or not.
        concatenations: of tensors that depend on the image.
    """

    sites: tuple[Site, ...] = ()
    junctions: tuple[Junction, ...] = ()
    ranks: Mapping[str, int] = field(default_factory=dict)
    entries: Mapping[str, int] = field(default_factory=dict)
    outputs: Mapping[str, Output] = field(default_factory=dict)
    pools: tuple[MaxPool, ...] = ()
    softmaxes: tuple[Softmax, ...] = ()
    attentions: tuple[Attention, ...] = ()
    concatenations: tuple[Concatenation, ...] = ()


def analyse(graph: fx.Graph) -> Structure:
    """The places of a functional graph; what modules return and where they begin is left to the capture.

    Args:
        graph: as `capture` makes it: one placeholder, functional operations, `val` and `nn_module_stack` in each meta.
    """
    dominators = Dominators(graph)
    junctions = find_junctions(dominators)
    sites = find_sites(dominators, junctions)
    gates = {site.index for site in sites if site.kind == "gate"}
    return Structure(
        sites=sites,
        junctions=tuple(
            replace(junction, sites=tuple(index for index in junction.sites if index not in gates))
            for junction in junctions
        ),
        pools=find_pools(graph),
        softmaxes=find_softmaxes(dominators),
        attentions=find_attentions(dominators, innermost_junctions(junctions)),
        concatenations=find_concatenations(dominators),
    )
