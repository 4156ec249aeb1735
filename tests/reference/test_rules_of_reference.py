"""PNA, TGR, ATT, VDC and SGM on transformers and on a DenseNet: gradients and images of public code, computed again."""

from __future__ import annotations

import pytest
import torch
from later_attacks import clean, labels, numbers, relative_error, sparse, surrogate

from linbp.attack import Recipe

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


def gradient(network: str, rules: str) -> torch.Tensor:
    ruled = surrogate(network).with_rule(Recipe.parse(rules).stages[-1].rules if rules else None)
    return ruled.gradient(clean(network), labels(network))


def check(network: str, name: str, rules: str) -> None:
    """A gradient against what the file keeps of it: some of its values, sums over patches, and its L1 and L2 norms."""
    found, stored = gradient(network, rules), numbers(network)
    assert relative_error(found[..., 3::8, 5::8], stored[f"grad_{name}"]) < TOLERANCE
    norms = torch.stack([found.flatten(1).norm(p=p, dim=1) for p in (1, 2)], dim=1)
    assert relative_error(norms, stored[f"norm_{name}"]) < TOLERANCE
    if f"patch_{name}" in stored:
        patches = found.unflatten(3, (14, 16)).unflatten(2, (14, 16)).sum((3, 5))
        assert relative_error(patches, stored[f"patch_{name}"]) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
def test_gradients_of_a_vision_transformer(name: str) -> None:
    check("vit_tiny", name, RULES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pna", "tgr", "att", "vdc"])
def test_gradients_of_another_one(name: str) -> None:
    """DeiT is a ViT with other statistics of its input; what it shows is that nothing hangs on the first network."""
    check("deit_tiny", name, RULES[name])


def test_sgm_on_the_concatenations_of_a_densenet() -> None:
    """The factor of the file is at both ReLUs of a layer and at the stem's: sqrt(0.5) times the formula's gradient."""
    stored = numbers("densenet121")
    assert relative_error(sparse(gradient("densenet121", "")), stored["grad_plain"]) < TOLERANCE
    found = gradient("densenet121", "sgm(gamma=0.5, skips=dense)") * 0.5**0.5
    assert relative_error(sparse(found), stored["grad_sgm0.5"]) < TOLERANCE
