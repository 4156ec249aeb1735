"""Compiled surrogates: the same gradients with every rule, one compilation for all batches, and what results record."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from passes import Every, seeded
from small_suites import write_images
from tiny_networks import images_and_labels, tiny
from tiny_transformer import tiny_transformer
from torch import fx

import linbp
from linbp.attack import prepare
from linbp.attack.config import AttackConfig
from linbp.attack.job.craft_folder import craft_folder
from linbp.attack.recipe.recipe import Recipe
from linbp.data.image_list import list_images
from linbp.errors import LinbpError, ModelError, RecipeError, RuleError
from linbp.graph.engine.compiled import Compiled
from linbp.graph.engine.norms import image_norms, without_branches
from linbp.registry import names

STARTS = {"linbp": "linbp(start=0)", "conbp": "conbp(start=0)", "bpa": "bpa(start=0)"}
LEVELS, LABELS = images_and_labels(3)
IMAGES = LEVELS.double() / 255


def as_written(graph: fx.GraphModule, **_: Any) -> fx.GraphModule:
    """What stands in for the compiler, where a test is about what it is given."""
    return graph


@pytest.mark.parametrize("network", ["residual", "transformer"])
@pytest.mark.parametrize(
    "rule", ["", "linbp(start=0, rebalance=site)", "leaky-linbp", *(STARTS.get(one, one) for one in names("rule"))]
)
def test_every_rule_is_traced_with_the_passes_exactly(rule: str | None, network: str) -> None:
    model = tiny() if network == "residual" else tiny_transformer()
    rules = Recipe.parse(f"{rule} + mi").stages[0].rules if rule else ()
    surrogate = linbp.Surrogate(model)
    try:
        plain = surrogate.with_rule(rules)
    except RuleError:
        attentive = rule in ("pna", "tgr", "att", "vdc")
        assert attentive if network == "residual" else rule in ("conbp(start=0)", "bpa(start=0)")
        return
    wanted = plain.gradient(IMAGES, LABELS)
    with mock.patch("torch.compile", as_written):
        found = plain.compiled().gradient(IMAGES, LABELS)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12 * float(wanted.abs().max()))


def test_feature_maps_and_their_gradients_come_out_of_both_passes() -> None:
    plain = linbp.Surrogate(tiny(), linbp.LinBP(start=1))
    plain = plain.reading(["blocks.0"])
    leaf = IMAGES.clone().requires_grad_()

    def slope(surrogate: linbp.Surrogate) -> tuple[torch.Tensor, ...]:
        logits, maps = surrogate.observe(leaf)
        (value,) = maps.values()
        return logits, value, *torch.autograd.grad(logits.square().sum() + value.sin().sum(), leaf)

    with mock.patch("torch.compile", as_written):
        found = slope(plain.compiled())
    for one, wanted in zip(found, slope(plain), strict=True):
        torch.testing.assert_close(one, wanted, rtol=1e-10, atol=1e-12)


def agree(found: torch.Tensor, wanted: torch.Tensor, off: float) -> bool:
    """Whether gradients do, but of one image, where a ReLU may flip in float32."""
    differences = sorted(float((one - other).norm() / other.norm()) for one, other in zip(found, wanted, strict=True))
    return differences[-2] <= off and differences[-1] <= (1000 * off if found.dtype == torch.float32 else off)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "off"), [(torch.float32, 1e-5), pytest.param(torch.float64, 1e-10, marks=pytest.mark.exhaustive)]
)
def test_compiled_gradients_are_those_of_before(dtype: torch.dtype, off: float) -> None:
    model = linbp.Model(seeded(Every, dtype), input_size=(3, Every.side, Every.side))
    plain = linbp.Surrogate(model, linbp.LinBP(start=0), cache=False)
    images = torch.rand(6, 3, Every.side, Every.side, generator=torch.Generator().manual_seed(3)).to(dtype)
    labels = [0, 1, 2, 3, 4, 0]
    compiled = plain.compiled()
    found, wanted = compiled.gradient(images, labels), plain.gradient(images, labels)
    assert agree(found, wanted, off)
    network = compiled._network
    assert isinstance(network, Compiled)
    fewer = compiled.gradient(images[:5], labels[:5])  # filled up: nothing is compiled for it
    assert len(network._pairs) == 1
    assert agree(fewer, wanted[:5], off)
    assert torch.equal(compiled.logits(images), plain.logits(images))


@pytest.mark.slow
def test_a_folder_records_it_and_does_not_go_on_without(tmp_path: Path) -> None:
    write_images(tmp_path / "photos", 3)
    records = list_images(tmp_path / "photos" / "images.csv")
    model = tiny(torch.float32)
    config = AttackConfig.resolve("mifgsm", eps="8/255", steps=3, compiled=True)
    craft_folder(model, records, tmp_path / "adv", config, trust_labels=True)
    manifest = json.loads((tmp_path / "adv" / "manifest.json").read_text())
    assert manifest["settings"]["surrogate"]["compiled"] is True
    plain = AttackConfig.resolve("mifgsm", eps="8/255", steps=3)
    with pytest.raises(LinbpError, match="compiled"):
        craft_folder(model, records, tmp_path / "adv", plain, trust_labels=True)
    adv = linbp.craft(tiny(), IMAGES, LABELS, "mifgsm", eps="8/255", steps=3, compiled=True)
    assert float((adv - IMAGES).abs().max()) <= 8 / 255 + 1e-9
    wanted = linbp.craft(tiny(), IMAGES, LABELS, "mifgsm", eps="8/255", steps=3)
    assert float((adv != wanted).double().mean()) < 0.01


def test_norms_without_branches_reach_as_far() -> None:
    values = torch.tensor([[3.0, 4.0], [3e-30, 4e-30], [3e30, 4e30], [0.0, 0.0]])
    with without_branches():
        found = image_norms(values)
    torch.testing.assert_close(found, torch.tensor([5.0, 5e-30, 5e30, 0.0]), rtol=1e-6, atol=0)
    torch.testing.assert_close(found.double(), image_norms(values).double(), rtol=1e-6, atol=0)


def test_what_cannot_be_compiled_says_so_in_one_line() -> None:
    surrogate = linbp.Surrogate(tiny())

    def broken(*_: Any, **__: Any) -> Any:
        def run(*_: Any) -> Any:
            raise RuntimeError("\n  no compiler\n  and more")

        return run

    with mock.patch("torch.compile", broken), pytest.raises(ModelError, match="no compiler") as caught:
        surrogate.compiled().gradient(IMAGES, LABELS)
    assert "\n" not in caught.value.message
    turning = tiny()
    turning.turns = 3  # type: ignore[misc]
    with pytest.raises(RecipeError, match="turns"):
        linbp.Surrogate(turning, compiled=True)
    prepared = prepare(surrogate, Recipe.parse("mifgsm"))
    with pytest.raises(RecipeError, match="without compiling"):
        linbp.craft(prepared, IMAGES, LABELS, "mifgsm", eps="8/255", steps=2, compiled=True)


def test_where_a_feature_map_is_mixed_in_it_runs_as_it_is_and_says_so() -> None:
    compiled = linbp.Surrogate(tiny(), compiled=True)
    stage = prepare(compiled, Recipe.parse("ilpd + mi")).stages[0]
    (mixing,) = stage.surrogates
    assert mixing.is_compiled
    assert not isinstance(mixing._network, Compiled)
    assert any("not compiled" in note for note in mixing.notes)
    assert isinstance(copy.deepcopy(compiled._network), Compiled)
