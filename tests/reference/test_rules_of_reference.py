"""PNA, TGR, ATT, VDC and SGM on transformers and on a DenseNet: gradients and images of public code, computed again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from exhaustive import marked
from later_attacks import clean, labels, levels, moved, numbers, relative_error, surrogate

from linbp.attack import Recipe
from linbp.graph import Plan, Structure
from linbp.rules import TGR

TOLERANCE = 1e-6
RULES = {
    "plain": "",
    "pna": "pna",
    "tgr": "tgr",
    "att": "att",
    "vdc": "vdc",
    "sgm0.4": "sgm(gamma=0.4)",
    "pna_sgm_mlp0.5": "pna + sgm(gamma=0.5, branches=mlp)",
}
PLACES = {"attention": "attentions", "qkv": "tensors", "mlp": "edges"}
"""Of TGR: their names in the file, and in its plan."""
TRANSFORMERS = marked(["vit_tiny", "deit_tiny"], ["deit_tiny"])
ATTACKS = ["plain", "pna", "tgr", "vdc", "sgm0.4"]


@dataclass(frozen=True)
class OnePlace:
    """TGR at one kind of place alone."""

    place: str

    def plan(self, structure: Structure) -> Plan:
        field = PLACES[self.place]
        return Plan(**{field: getattr(TGR().plan(structure), field)})


def gradient(network: str, rules: Any) -> torch.Tensor:
    return surrogate(network).with_rule(rules).gradient(clean(network), labels(network))


def parsed(rules: str) -> Any:
    return Recipe.parse(rules).stages[-1].rules if rules else None


def check(network: str, name: str, found: torch.Tensor) -> None:
    """A gradient against what the file keeps of it: some of its values, sums over patches, and its L1 and L2 norms."""
    stored = numbers(network)
    assert relative_error(found[..., 3::8, 5::8], stored[f"grad_{name}"]) < TOLERANCE
    norms = torch.stack([found.flatten(1).norm(p=p, dim=1) for p in (1, 2)], dim=1)
    assert relative_error(norms, stored[f"norm_{name}"]) < TOLERANCE
    patches = found.unflatten(3, (14, 16)).unflatten(2, (14, 16)).sum((3, 5))
    assert relative_error(patches, stored[f"patch_{name}"]) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("network", TRANSFORMERS)
@pytest.mark.parametrize("name", RULES)
def test_gradients_of_vision_transformers(network: str, name: str) -> None:
    """DeiT is a ViT with other statistics of its input; what it shows is that nothing hangs on the first network."""
    check(network, name, gradient(network, parsed(RULES[name])))


@pytest.mark.slow
@pytest.mark.parametrize("network", TRANSFORMERS)
@pytest.mark.parametrize("place", PLACES)
def test_each_place_of_tgr_alone(network: str, place: str) -> None:
    check(network, f"tgr_{place}", gradient(network, OnePlace(place)))


@pytest.mark.slow
@pytest.mark.parametrize("network", TRANSFORMERS)
@pytest.mark.parametrize("name", ATTACKS)
def test_images_of_vision_transformers(network: str, name: str) -> None:
    change = moved(network, f"{RULES[name]} + mi" if RULES[name] else "mi")
    assert np.array_equal(levels(change), numbers(network)[f"change_{name}"])


def test_sgm_on_the_concatenations_of_a_densenet() -> None:
    """The factor of the file is at both ReLUs of a layer and at the stem's: sqrt(0.5) times the formula's gradient."""
    found = gradient("densenet121", parsed("sgm(gamma=0.5, skips=dense)")) * 0.5**0.5
    assert relative_error(found, numbers("densenet121")["grad_sgm0.5"]) < TOLERANCE


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize(("name", "recipe"), [("plain", "mi"), ("sgm0.5", "sgm(gamma=0.5, skips=dense) + mi")])
def test_images_of_a_densenet(name: str, recipe: str) -> None:
    assert np.array_equal(levels(moved("densenet121", recipe)), numbers("densenet121")[f"change_{name}"])
