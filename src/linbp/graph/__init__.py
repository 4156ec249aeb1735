"""A network as a graph: its places, and networks with other gradients made of it."""

from linbp.graph.engine.attention import AttentionBackward, AttentionGradients
from linbp.graph.engine.branch import BranchBackward, BranchGradients
from linbp.graph.engine.memory import Memory
from linbp.graph.engine.norms import image_norms, norm_ratio
from linbp.graph.engine.operation import Needs, Operation, SiteBackward
from linbp.graph.engine.plan import Plan
from linbp.graph.engine.tensor import OperandBackward, Scale, TensorBackward
from linbp.graph.structure.attention import Attention, Softmax
from linbp.graph.structure.concatenations import Concatenation
from linbp.graph.structure.feature_maps import find_output, spatial_size, stage_outputs
from linbp.graph.structure.junctions import Junction
from linbp.graph.structure.pools import MaxPool
from linbp.graph.structure.position import Position, first_site
from linbp.graph.structure.published import Published, published_feature_map, published_position
from linbp.graph.structure.sites import Site
from linbp.graph.structure.structure import Output, Structure
from linbp.graph.surrogate import Rule, Surrogate

__all__ = [
    "Attention",
    "AttentionBackward",
    "AttentionGradients",
    "BranchBackward",
    "BranchGradients",
    "Concatenation",
    "Junction",
    "MaxPool",
    "Memory",
    "Needs",
    "OperandBackward",
    "Operation",
    "Output",
    "Plan",
    "Position",
    "Published",
    "Rule",
    "Scale",
    "Site",
    "SiteBackward",
    "Softmax",
    "Structure",
    "Surrogate",
    "TensorBackward",
    "find_output",
    "first_site",
    "image_norms",
    "norm_ratio",
    "published_feature_map",
    "published_position",
    "spatial_size",
    "stage_outputs",
]
