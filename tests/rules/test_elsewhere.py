"""What the pages say of other frameworks' LinBP, and of a rule of one's own that became a parameter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import timm
import torch
from residual_networks import build
from torch import nn

from linbp import LinBP, Model, Surrogate
from linbp.graph import Operation, Plan, Structure

DOCS = Path(__file__).parents[2] / "docs"
SIZE = (3, 8, 8)


def python(page: str, word: str) -> dict[str, Any]:
    """What the block of a page that defines `word` defines; lines that load a network are left out."""
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (text,) = (block for block in blocks if word in block)
    defined: dict[str, Any] = {}
    exec(text.split("surrogate = ")[0], defined)
    return defined


@dataclass(frozen=True)
class OverTheBatch:
    """TA-Bench's factor at one activation: |M g| / |g|, both over all images together."""

    needs: ClassVar[Literal["derivative"]] = "derivative"

    def __call__(self, gradient: torch.Tensor, ordinary: Operation) -> torch.Tensor:
        return gradient * (ordinary(gradient).norm() / gradient.norm())


class TaBench:
    def plan(self, structure: Structure) -> Plan:
        chosen = [site.index for site in structure.sites if site.kind in ("plain", "in a branch")]
        return Plan(sites=dict.fromkeys(chosen, OverTheBatch()))


def chain() -> nn.Module:
    layers: list[nn.Module] = []
    for inputs in (3, 4, 4):
        layers += [nn.Conv2d(inputs, 4, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(256, 5)).double().eval()


def surrogate(module: nn.Module) -> tuple[Surrogate, torch.Tensor, torch.Tensor]:
    images = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return Surrogate(Model(module, input_size=SIZE), cache=False), images, torch.tensor([0, 1, 2])


def test_in_a_chain_every_rescaling_takes_the_same_steps() -> None:
    torch.manual_seed(0)
    captured, images, labels = surrogate(chain())
    rules = [LinBP(start=0, rebalance=rebalance) for rebalance in ("branch", "site", None)]
    found = [captured.with_rule(rule).gradient(images, labels) for rule in [*rules, TaBench()]]
    assert all(torch.equal(one.sign(), found[0].sign()) for one in found)
    lengths = [float(one.norm()) for one in found]
    assert lengths[0] != pytest.approx(lengths[1])


def test_in_a_residual_network_norms_over_the_batch_make_images_companions() -> None:
    captured, images, labels = surrogate(build("bottleneck"))
    site, batch = captured.with_rule(LinBP(start=0, rebalance="site")), captured.with_rule(TaBench())
    alone = [(rule.gradient(images[:1], labels[:1])[0], rule.gradient(images, labels)[0]) for rule in (site, batch)]
    assert torch.allclose(alone[0][0], alone[1][0], rtol=1e-10)  # a batch of one: the same rule
    assert torch.allclose(*alone[0], rtol=1e-10)
    assert not torch.allclose(*alone[1], rtol=1e-3)
    assert (alone[1][0].sign() != alone[1][1].sign()).any()


@pytest.mark.parametrize("name", ["bottleneck", "nested", "post-activation"])
def test_the_rule_on_the_page_is_the_leak_without_rescaling(name: str) -> None:
    captured, images, labels = surrogate(build(name))
    rule = python("edgetpu.md", "class PartlyLinear")["PartlyLinear"](0.1)
    written, parameter = (
        captured.with_rule(one).gradient(images, labels) for one in (rule, LinBP(start=0, rebalance=None, leak=0.1))
    )
    assert torch.allclose(written, parameter, rtol=1e-10)
    rescaled = captured.with_rule(LinBP(start=0, leak=0.1)).gradient(images, labels)
    assert not torch.allclose(written, rescaled, rtol=1e-2)


def taken_by_ta_bench(path: str) -> bool:
    """Whether TA-Bench takes an activation of timm's Inception v3, by its module path; written down block by block."""
    multiple = {
        "5b": ["branch5x5_1", "branch5x5_2", "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"],
        "6a": ["branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"],
        "6b": [f"branch7x7_{at}" for at in (1, 2, 3)] + [f"branch7x7dbl_{at}" for at in (1, 2, 3, 4, 5)],
        "7a": ["branch3x3_1", "branch3x3_2"] + [f"branch7x7x3_{at}" for at in (1, 2, 3, 4)],
        "7b": [f"branch3x3_{at}" for at in ("1", "2a", "2b")] + [f"branch3x3dbl_{at}" for at in ("1", "2", "3a", "3b")],
    }
    same = {"5c": "5b", "5d": "5b", "6c": "6b", "6d": "6b", "6e": "6b", "7c": "7b"}
    first, second = path.split(".")[:2]
    if first.startswith("Mixed_"):
        block = first.removeprefix("Mixed_")
        return second in multiple[same.get(block, block)]
    return first in ("Conv2d_3b_1x1", "Conv2d_4a_3x3")


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_sites_of_inception_v3_by_name() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = timm.create_model("inception_v3", num_classes=10).eval()
    model = Model(module, input_size=(3, 80, 80))
    captured = Surrogate(model, fold_batch_norm=False, memory_format="contiguous", cache=False)
    ruled = captured.with_rule(python("elsewhere.md", "in_the_way_of_ta_bench")["in_the_way_of_ta_bench"](captured))
    taken = [site.index for site in captured.sites if taken_by_ta_bench(site.module_path)]
    assert sorted(ruled.plan.sites) == taken
    assert len(taken) == 72
    assert len(captured.sites) - 3 == 91
