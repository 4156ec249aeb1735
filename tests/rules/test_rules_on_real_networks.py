"""Every rule on networks that people use, with random weights: it runs, or refuses with its reason."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from exhaustive import marked
from torch import nn

import linbp
from linbp.attack import Recipe
from linbp.errors import RuleError
from linbp.registry import names

NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "ViT-tiny": (lambda: timm.create_model("vit_tiny_patch16_224", img_size=64), 64),
    "DeiT-tiny": (lambda: timm.create_model("deit_tiny_patch16_224", img_size=64), 64),
    "Swin-tiny": (lambda: timm.create_model("swin_tiny_patch4_window7_224", img_size=56), 56),
    "ConvNeXt-atto": (lambda: timm.create_model("convnext_atto"), 64),
    "ResNet-18": (torchvision.models.resnet18, 64),
    "DenseNet-121": (torchvision.models.densenet121, 64),
}
STARTS = {"linbp": "linbp(start=0)", "conbp": "conbp(start=0)", "bpa": "bpa(start=0)"}
MORE = ("leaky-linbp", "leaky-linbp + sgm", "sgm(skips=dense)", "sgm(branches=mlp)", "linbp(start=0) + tgr")
LINEAR, ATTENTIVE = ("linbp(start=0)", "leaky-linbp"), ("pna", "tgr", "att", "vdc")
TRANSFORMERS = {"ViT-tiny", "DeiT-tiny", "Swin-tiny"}
RELUS = {"ResNet-18", "DenseNet-121"}


def refused(rules: str, network: str) -> str | None:
    """A word of the reason why rules do not fit a network, or None where they do."""
    if set(ATTENTIVE) & set(rules.split(" + ")) and network not in TRANSFORMERS:
        return "attention"
    if "vdc" in rules.split(" + ") and network == "Swin-tiny":
        return "different shapes"
    if rules.startswith(("conbp", "bpa")) and network not in RELUS:
        return "ReLU"
    if rules == "sgm(skips=dense)":
        return None if network == "DenseNet-121" else "concatenation"
    return "sum" if "sgm" in rules and network == "DenseNet-121" else None


@functools.cache
def surrogate(network: str) -> linbp.Surrogate:
    build, size = NETWORKS[network]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build().eval()
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
            elif name.endswith("gamma"):
                nn.init.ones_(parameter)  # branches count for nothing where they are scaled by 1e-6
    return linbp.Surrogate(linbp.Model(module, input_size=(3, size, size), name=network))


@functools.cache
def gradient(network: str, rules: str) -> torch.Tensor:
    size = NETWORKS[network][1]
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(2))
    ruled = surrogate(network).with_rule(Recipe.parse(rules).stages[-1].rules if rules else None)
    return ruled.gradient(images, torch.tensor([3, 500]))


@pytest.mark.slow
@pytest.mark.parametrize("network", marked(NETWORKS, ["Swin-tiny", "DenseNet-121"]), scope="module")
def test_it_runs_or_refuses_with_its_reason(network: str) -> None:
    plain = gradient(network, "")
    for rules in (*(STARTS.get(name, name) for name in names("rule")), *MORE):
        reason = refused(rules, network)
        if reason is not None:
            with pytest.raises(RuleError, match=reason):
                gradient(network, rules)
            continue
        found = gradient(network, rules)
        assert torch.isfinite(found).all(), rules
        assert float((found - plain).norm() / plain.norm()) > 1e-3, rules


@pytest.mark.slow
@pytest.mark.parametrize("network", [name for name in NETWORKS if name in TRANSFORMERS], scope="module")
def test_linbp_at_gelus_beside_each_rule_for_transformers(network: str) -> None:
    """Each sum is another gradient than either of its rules alone, and its gelus are the sites."""
    sites = surrogate(network).sites
    assert {site.op for site in sites} == {"gelu"}
    for linear in LINEAR:
        plan = surrogate(network).with_rule(Recipe.parse(linear).stages[-1].rules).plan
        assert len(plan.sites) == len(sites)
        for rule in ATTENTIVE:
            both = f"{linear} + {rule}"
            if refused(both, network):
                with pytest.raises(RuleError, match=str(refused(both, network))):
                    gradient(network, both)
                continue
            found = gradient(network, both)
            assert torch.isfinite(found).all(), both
            for alone in (linear, rule):
                other = gradient(network, alone)
                assert float((found - other).norm() / other.norm()) > 1e-3, both


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS, scope="module")
def test_feature_maps_are_found(network: str) -> None:
    """The default map of objectives that weigh one, and of ILPD: in the middle, and everything goes through it."""
    size = NETWORKS[network][1]
    images = torch.randint(256, (1, 3, size, size), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    for recipe in ("fia(samples=1)", "naa(samples=1)", "bfa(samples=1)", "ilpd"):
        adv = linbp.craft(surrogate(network), images, torch.tensor([3]), recipe, eps=8 / 255, steps=1)
        assert (adv * 255 - images).abs().max() > 0.5, recipe
