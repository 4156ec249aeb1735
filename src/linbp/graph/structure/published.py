"""Where papers and their code let a backward rule begin, for the architectures that they used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from linbp.errors import RuleError
from linbp.graph.structure.structure import Structure

__all__ = ["Published", "published_feature_map", "published_position"]

RELEASED = "released code of Guo, Li, Chen, arXiv 2012.03528"
TA_BENCH = "TA-Bench's code, arXiv 2311.01323"
BPA = "released code of Wang, Tong, He, arXiv 2306.12685"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A position that was used for an architecture.

    Attributes:
        network: the architecture.
        start: the module path, as this network names it; of a feature map that is read, the module's that returns it.
        source: whose position it is.
    """

    network: str
    start: str
    source: str


@dataclass(frozen=True, kw_only=True)
class _Row:
    """An architecture, known by which modules hold which of its sites.

    Attributes:
        network: its name.
        holds: of some sites' numbers, the module that the site is in.
        sites: how many sites it can have; empty for any number.
        width: the number of a site and a size that is in its shape, where only that tells apart.
        pools: how many max-pools, where only that tells apart.
        starts: module path and source, by the rule's name; under `ila`, of the feature map that ILA reads.
    """

    network: str
    holds: Mapping[int, str]
    sites: tuple[int, ...] = ()
    width: tuple[int, int] | None = None
    pools: int | None = None
    starts: Mapping[str, tuple[str, str]] = field(default_factory=dict)


RESNET50 = {1: "layer1.0", 10: "layer2.0", 22: "layer3.0", 40: "layer4.0"}
DENSENET = "a choice of this library, by analogy with ResNet-50 (the same resolution); nobody published one"
MATCHING = f"the convolution conv3_4, as for VGG-19-BN in the {RELEASED}"

ROWS = (
    _Row(
        network="VGG-19-BN",
        holds={7: "features.25", 15: "features.51"},
        sites=(16, 17, 18),
        starts={
            "linbp": ("features.23", f"{RELEASED}, for CIFAR-10"),
            "conbp": ("features.46", TA_BENCH),
            "bpa": ("features.46", f"{BPA}, which leaves the classifier's ReLUs alone"),
            "ila": ("features.23", f"{RELEASED}, for CIFAR-10"),
        },
    ),
    _Row(
        network="VGG-19",
        holds={7: "features.17", 15: "features.35"},
        sites=(16, 17, 18),
        starts={"linbp": ("features.16", MATCHING)},
    ),
    _Row(
        network="ResNet-50 without a max-pool (CIFAR-10)",
        holds=RESNET50,
        sites=(49,),
        width=(1, 64),
        pools=0,
        starts={"linbp": ("layer4.0", "BlackboxBench's scripts for CIFAR-10")},
    ),
    _Row(
        network="ResNet-50",
        holds=RESNET50,
        sites=(49,),
        width=(1, 64),
        starts={
            "linbp": ("layer3.1", RELEASED),
            "conbp": ("layer3.0", TA_BENCH),
            "bpa": ("layer3.1", BPA),
            "ila": ("layer2.3", RELEASED),
        },
    ),
    _Row(
        network="Inception v3",
        holds={3: "Conv2d_3b_1x1", 26: "Mixed_6a", 85: "Mixed_7c"},
        sites=(94,),
        starts={
            "linbp": ("Conv2d_3b_1x1", f"{TA_BENCH}, which leaves branches of a single convolution alone"),
            "conbp": ("Conv2d_3b_1x1", f"{TA_BENCH}, which leaves branches of a single convolution alone"),
        },
    ),
    _Row(
        network="DenseNet",
        holds={1: "features.denseblock1", 39: "features.denseblock3"},
        starts={"linbp": ("features.denseblock3", DENSENET)},
    ),
    _Row(
        network="ViT with 12 blocks",
        holds={0: "blocks.0.mlp", 11: "blocks.11.mlp"},
        sites=(12,),
        starts={"linbp": ("blocks.10", f"{TA_BENCH}, for ViT-B, DeiT3-B and BEiT-B")},
    ),
    _Row(
        network="ViT with 12 blocks",
        holds={0: "encoder.layers.encoder_layer_0", 11: "encoder.layers.encoder_layer_11"},
        sites=(12,),
        starts={"linbp": ("encoder.layers.encoder_layer_10", f"{TA_BENCH}, for ViT-B")},
    ),
    _Row(
        network="Mixer with 12 blocks",
        holds={0: "blocks.0.mlp_tokens", 23: "blocks.11.mlp_channels"},
        sites=(24,),
        starts={"linbp": ("blocks.3", f"{TA_BENCH}, for Mixer-B")},
    ),
    _Row(
        network="ConvNeXt-B",
        holds={3: "stages.1", 6: "stages.2", 33: "stages.3"},
        sites=(36,),
        width=(0, 512),
        starts={"linbp": ("stages.3", TA_BENCH)},
    ),
    _Row(
        network="Swin-B",
        holds={2: "layers.1", 4: "layers.2", 22: "layers.3"},
        sites=(24,),
        width=(0, 512),
        starts={"linbp": ("layers.3", TA_BENCH)},
    ),
    _Row(
        network="EfficientNetV2-M",
        holds={1: "blocks.0", 14: "blocks.3", 98: "blocks.5", 170: "blocks.6"},
        sites=(191,),
        starts={"linbp": ("blocks.5", TA_BENCH)},
    ),
)


def published_position(structure: Structure, rule: str = "linbp") -> Published:
    """The position that was used with a rule for the architecture that a network has.

    An architecture is known by its sites, the modules that hold them and their shapes, also inside another module.

    Args:
        structure: of the network.
        rule: the rule's name in the grammar.

    Raises:
        RuleError: no position was published for it, with positions to try.
    """
    found = _find(structure, rule)
    if found is None:
        raise RuleError(
            f"No position of {rule} is known for this network: by its sites it is none of {_known(rule)}.",
            f"Give one{_some_starts(structure)}; try a few as on the page of positions.",
        )
    return found


def published_feature_map(structure: Structure) -> Published:
    """The feature map that the LinBP paper's code lets ILA read in the architecture that a network has.

    Raises:
        RuleError: none was published for it.
    """
    found = _find(structure, "ila")
    if found is None:
        raise RuleError(
            f"No feature map of ILA is known for this network: by its sites it is none of {_known('ila')}.",
            "Name one with at=...; `linbp inspect MODEL --feature-maps` lists them.",
        )
    return found


def _find(structure: Structure, name: str) -> Published | None:
    for row in ROWS:
        prefix = _prefix(row, structure)
        if prefix is not None and name in row.starts:
            start, source = row.starts[name]
            return Published(network=row.network, start=prefix + start, source=source)
    return None


def _known(name: str) -> str:
    return ", ".join(dict.fromkeys(row.network for row in ROWS if name in row.starts))


def _prefix(row: _Row, structure: Structure) -> str | None:
    """What stands in front of the row's module paths in a network of that architecture, or None for another one."""
    sites = structure.sites
    if (row.sites and len(sites) not in row.sites) or max(row.holds) >= len(sites):
        return None
    if row.pools is not None and len(structure.pools) != row.pools:
        return None
    if row.width is not None and row.width[1] not in sites[row.width[0]].shape:
        return None
    prefixes = {_in_front(module, sites[index].module_path) for index, module in row.holds.items()}
    return prefixes.pop() if len(prefixes) == 1 else None


def _in_front(module: str, path: str) -> str | None:
    """What stands in front of a module in the path of something inside it."""
    before, found, _ = f".{path}.".partition(f".{module}.")
    return (before + ".").lstrip(".") if found else None


def _some_starts(structure: Structure) -> str:
    """Three positions to try, with what they mean here."""
    sites = structure.sites
    tries = []
    for fraction in (0.25, 0.5, 0.75) if sites else ():
        site = sites[int(fraction * len(sites))]
        tries.append(f"start={fraction} (site {site.index}, {site.module_path or 'the root module'})")
    return ", such as " + ", ".join(tries) if tries else ""
