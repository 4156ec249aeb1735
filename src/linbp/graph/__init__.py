"""A network as a graph: capture, sites and junctions, and rewriting."""

from linbp.graph.analysis import Junction, Site, Structure
from linbp.graph.backward import Operation, SiteBackward, ratio
from linbp.graph.position import Position, first_site
from linbp.graph.rewrite import Plan
from linbp.graph.surrogate import Rule, Surrogate

__all__ = [
    "Junction",
    "Operation",
    "Plan",
    "Position",
    "Rule",
    "Site",
    "SiteBackward",
    "Structure",
    "Surrogate",
    "first_site",
    "ratio",
]
