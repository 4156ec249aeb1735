"""`start=default`: the published position of an architecture, known by its structure."""

from __future__ import annotations

import pytest
import torch
from exhaustive import marked
from known_networks import captured
from torch import nn

from linbp import BPA, ConBP, LinBP, Model, Recipe, Surrogate, craft
from linbp.attack.prepare import prepare
from linbp.errors import RuleError
from linbp.graph import first_site, published_position
from linbp.graph.structure.suggestions import suggestions

# For each rule, the module path and the number of the first site: counted by hand.
KNOWN: dict[str, dict[str, tuple[str, int]]] = {
    # conv3_4 is the eighth convolution; conv5_3 the fifteenth.
    "VGG-19-BN for CIFAR-10": {"linbp": ("features.23", 7), "bpa": ("features.46", 14)},
    "VGG-19-BN": {"linbp": ("features.23", 7), "conbp": ("features.46", 14)},
    "VGG-19": {"linbp": ("features.16", 7)},
    # Behind 1 + 3 x (3 + 4 + 1) = 25 sites; layer3 itself begins three sites earlier.
    "ResNet-50": {"linbp": ("layer3.1", 25), "bpa": ("layer3.1", 25), "conbp": ("layer3.0", 22)},
    "ResNet-50 inside another module": {"linbp": ("1.layer3.1", 25)},
    "ResNet-50 of timm": {"linbp": ("layer3.1", 25)},
    # Behind 1 + 3 x (3 + 4 + 6) = 40 sites.
    "ResNet-50 for CIFAR-10": {"linbp": ("layer4.0", 40)},
    # Behind the three convolutions in front of the first max-pool.
    "Inception v3": {"linbp": ("Conv2d_3b_1x1", 3), "conbp": ("Conv2d_3b_1x1", 3)},
    "Inception v3 of timm": {"linbp": ("Conv2d_3b_1x1", 3)},
    # Behind the stem, 6 and 12 layers of two, and two transitions: 1 + 12 + 1 + 24 + 1 = 39.
    "DenseNet-121": {"linbp": ("features.denseblock3", 39)},
    "DenseNet-121 of timm": {"linbp": ("features.denseblock3", 39)},
    "ViT": {"linbp": ("blocks.10", 10)},
    "ViT of torchvision": {"linbp": ("encoder.layers.encoder_layer_10", 10)},
    "DeiT3": {"linbp": ("blocks.10", 10)},
    "Mixer": {"linbp": ("blocks.3", 6)},
    "ConvNeXt-B": {"linbp": ("stages.3", 33)},
    "Swin-B": {"linbp": ("layers.3", 22)},
}
RULES = {"linbp": LinBP, "conbp": ConBP, "bpa": BPA}


LARGEST = {
    *("ConvNeXt-B", "Swin-B", "DenseNet-121 of timm", "Inception v3 of timm", "DeiT3"),
    *("ResNet-50 for CIFAR-10", "ResNet-50 inside another module", "ViT of torchvision"),
    *("Wide ResNet-50", "SE-ResNet-50", "ConvNeXt-S"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", marked(KNOWN, LARGEST))
def test_the_published_position_of_an_architecture(name: str) -> None:
    surrogate = captured(name)
    for rule, (path, index) in KNOWN[name].items():
        found = published_position(surrogate.structure, rule)
        assert found.start == path
        assert first_site(path, surrogate.structure) == first_site("default", surrogate.structure, rule) == index
        ruled = surrogate.with_rule(RULES[rule](start="default"))
        written = surrogate.with_rule(RULES[rule](start=path))
        assert ruled.plan.sites.keys() == written.plan.sites.keys()
        assert any(path in note and found.source in note for note in ruled.notes)
        assert not any("default" in note for note in written.notes)


OTHERS = ["ResNet-34", "Wide ResNet-50", "SE-ResNet-50", "VGG-16-BN", "ConvNeXt-S", "MobileNet v2"]


@pytest.mark.slow
@pytest.mark.parametrize("name", marked(OTHERS, LARGEST))
def test_a_neighbour_of_a_known_architecture_is_not_taken_for_it(name: str) -> None:
    structure = captured(name).structure
    for rule in RULES:
        with pytest.raises(RuleError, match=rule):
            published_position(structure, rule)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(layer for _ in range(4) for layer in (nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())))
        self.head = nn.Linear(3, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.layers(images).mean((2, 3)))
        return logits


@pytest.fixture(scope="module")
def unknown() -> Surrogate:
    return Surrogate(Model(Small().eval(), input_size=(3, 8, 8)), cache=False)


@pytest.mark.parametrize("rule", [LinBP(start="default"), ConBP(start="default"), BPA(start="default"), LinBP(), BPA()])
def test_an_unknown_architecture_is_refused_with_positions_to_try(unknown: Surrogate, rule: LinBP) -> None:
    name = rule.grammar_name  # type: ignore[attr-defined]
    with pytest.raises(RuleError, match=f"{name}.*ResNet-50") as caught:
        unknown.with_rule(rule)
    for fraction, index in ((0.25, 1), (0.5, 2), (0.75, 3)):
        assert f"start={fraction} (site {index}, layers.{2 * index + 1})" in caught.value.hint
        assert first_site(fraction, unknown.structure) == index


def test_what_is_meant_where_no_position_and_no_feature_map_is_given() -> None:
    surrogate = captured("ResNet-50")
    for rule in (LinBP, ConBP, BPA):
        left_out, written = (surrogate.with_rule(made).plan for made in (rule(), rule(start="default")))
        assert left_out.sites.keys() == written.sites.keys()
        assert left_out.notes == written.notes
    for text in ("ila", "ilaf(alpha=0.5)", "ila-plus-plus(fit=ridge)"):
        assert str(Recipe.parse(f"mi >> {text}")) == f"mi >> {text}"
        prepared = prepare(surrogate, Recipe.parse(f"linbp + mi >> {text}"))
        assert prepared.stages[-1].surrogates[0].reads == ("layer2.3",)
    images = torch.randint(0, 256, (1, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    adv = [craft(surrogate, images, [3], f"mi >> ila{at}", eps="8/255", steps=2) for at in ("", "(at=layer2.3)")]
    assert torch.equal(*adv)
    assert not torch.equal(adv[0], images.float() / 255)


def test_a_published_position_is_written_as_it_was_given() -> None:
    for text in ("linbp", "linbp(start=default)", "conbp(start=default)", "bpa", "bpa(start=default)"):
        assert str(Recipe.parse(text)) == text  # a folder that was started with one of them goes on


def test_names_near_one_that_is_not_there() -> None:
    names = [
        "patch_embed",
        "blocks.0",
        "blocks.1",
        "norm",
        "vit.embeddings",
        "vit.encoder.layer.0",
        "vit.encoder.layer.1",
    ]
    assert "blocks.0, blocks.1" in suggestions("blocks.12", names)
    assert "vit.encoder.layer.0," in suggestions("vit.encoder.layer.12", names)
    for path in ("nothing", ""):
        assert "patch_embed, norm" in suggestions(path, names)
        assert "blocks.0" not in suggestions(path, names)
    assert suggestions("x", []) != ""


def test_an_unknown_architecture_has_no_feature_map_of_ila(unknown: Surrogate) -> None:
    with pytest.raises(RuleError, match=r"ILA.*VGG-19-BN, ResNet-50") as caught:
        prepare(unknown, Recipe.parse("mi >> ila"))
    assert "--feature-maps" in caught.value.hint


def test_auto_is_not_a_position_of_a_network(unknown: Surrogate) -> None:
    with pytest.raises(RuleError, match="auto"):
        unknown.with_rule(LinBP(start="auto"))
    with pytest.raises(RuleError, match="auto"):
        first_site("auto", unknown.structure)


def test_a_network_without_activations_has_no_published_position() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 3)).eval()
    structure = Surrogate(Model(network, input_size=(3, 8, 8)), cache=False).structure
    with pytest.raises(RuleError, match="linbp"):
        published_position(structure)
    with pytest.raises(RuleError, match="no activation"):
        first_site("default", structure)
