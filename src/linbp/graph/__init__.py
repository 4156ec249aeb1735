"""A network as a graph: capture, sites and junctions, and rewriting."""

from linbp.graph.engine.backward import Needs, Operation, SiteBackward, ratio
from linbp.graph.engine.rewrite import Plan
from linbp.graph.structure.analysis import Junction, MaxPool, Output, Site, Structure
from linbp.graph.structure.feature_maps import find_output, spatial_size, stage_outputs
from linbp.graph.structure.position import Position, first_site
from linbp.graph.structure.published import Published, published_feature_map, published_position
from linbp.graph.surrogate import Rule, Surrogate

__all__ = [
    "Junction",
    "MaxPool",
    "Needs",
    "Operation",
    "Output",
    "Plan",
    "Position",
    "Published",
    "Rule",
    "Site",
    "SiteBackward",
    "Structure",
    "Surrogate",
    "find_output",
    "first_site",
    "published_feature_map",
    "published_position",
    "ratio",
    "spatial_size",
    "stage_outputs",
]
