"""Each pass over a finished graph leaves values and gradients what they are, also in branches inside branches."""

from __future__ import annotations

import pytest
import torch
from passes import Every, random_images, seeded, with_passes

import linbp
from linbp.graph.engine.branch import BranchModule
from linbp.graph.kernels import PASSES
from linbp.graph.kernels.convolution import Convolution

AGREEMENT = {torch.float64: 1e-13, torch.float32: 2e-6}
"""Largest relative difference: sums in another order round otherwise, and no more."""

RULES = {"ordinary": None, "branches": linbp.LinBP(start=0), "sites": linbp.LinBP(start=0, rebalance="site")}

COUNTS = {
    # every activation; not the sums, whose first operand is the fork, which the branch reads too
    "overwrite": {"ordinary": 7, "branches": 6, "sites": 7},
    "stem": dict.fromkeys(RULES, 1),
    "patches": dict.fromkeys(RULES, 1),
    "entry": {"ordinary": 0, "branches": 2, "sites": 0},
}


@pytest.fixture(scope="module", params=[torch.float32, torch.float64], ids=["float32", "float64"])
def surrogate(request: pytest.FixtureRequest) -> linbp.Surrogate:
    model = linbp.Model(seeded(Every, request.param), input_size=(3, Every.side, Every.side))
    return linbp.Surrogate(model, cache=False)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", PASSES)
def test_a_pass_changes_no_value_and_no_gradient(
    surrogate: linbp.Surrogate, name: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Convolution, "fast", True)  # so that float64 shows that the sums are the same ones
    changed, counts = with_passes(surrogate, RULES[rule], name)
    assert counts == {name: COUNTS[name][rule]}
    plain, _ = with_passes(surrogate, RULES[rule])
    images = random_images(3, Every.side, surrogate.dtype)
    for found, expected in (
        (changed.run(images), plain.run(images)),
        (changed.gradient(images, [0, 1, 2]), plain.gradient(images, [0, 1, 2])),
    ):
        assert expected.norm() > 0
        assert (found - expected).norm() <= AGREEMENT[surrogate.dtype] * expected.norm()


def test_faster_convolutions_are_for_float32(surrogate: linbp.Surrogate) -> None:
    _, counts = with_passes(surrogate, None, "stem")
    assert counts == ({"stem": int(surrogate.dtype == torch.float32)})


def test_all_passes_act_on_a_network_of_every_kind(surrogate: linbp.Surrogate) -> None:
    """None takes from another what that one is for."""
    _, alone = with_passes(surrogate, RULES["branches"], "overwrite")
    _, counts = with_passes(surrogate, RULES["branches"], *PASSES)
    assert counts["overwrite"] == alone["overwrite"]
    assert counts["entry"] == 2


def test_branches_inside_branches_measure_in_their_own_first_convolution(surrogate: linbp.Surrogate) -> None:
    modules = surrogate.with_rule(RULES["branches"])._network.modules()
    entries = [branch.entry for branch in modules if isinstance(branch, BranchModule)]
    assert len(entries) == 2
    assert None not in entries
    assert entries[0] is not entries[1]
