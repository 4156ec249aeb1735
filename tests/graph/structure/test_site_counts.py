"""Sites and junctions of well-known networks, counted by hand from their definitions."""

from __future__ import annotations

from collections import Counter

import pytest
from known_networks import captured

COUNTS: dict[str, tuple[dict[str, int], dict[str, int], int]] = {
    # One ReLU behind the first convolution. Four stages of two basic blocks, each block with one ReLU between its two
    # convolutions and one after its sum: 1 + 8 x 2 = 17.
    "ResNet-18": ({"plain": 1, "in a branch": 8, "after a sum": 8}, {"relu": 17}, 8),
    # 3 + 4 + 6 + 3 = 16 bottlenecks, each with two ReLUs between its three convolutions and one after its sum:
    # 1 + 16 x 3 = 49.
    "ResNet-50": ({"plain": 1, "in a branch": 32, "after a sum": 16}, {"relu": 49}, 16),
    # 2 + 2 + 4 + 4 + 4 = 16 convolutions with a ReLU each. No sums.
    "VGG-19-BN for CIFAR-10": ({"plain": 16}, {"relu": 16}, 0),
    # A ReLU6 behind the first convolution and behind the last. 1 + 2 + 3 + 4 + 3 + 3 + 1 = 17 inverted residuals: the
    # first does not expand and has one ReLU6 (depthwise), the others have two (expansion, depthwise): 1 + 16 x 2 = 33.
    # A sum only where the stride is 1 and the width stays: all but the first of each stage: 0+1+2+3+2+2+0 = 10 sums,
    # with 2 sites each. Nothing follows a sum but a convolution: the other 35 - 20 are plain.
    "MobileNet v2": ({"plain": 15, "in a branch": 20}, {"hardtanh": 35}, 10),
    # 6 + 12 + 24 + 16 = 58 layers of two ReLUs, three transitions of one, one behind the stem, one at the end:
    # 116 + 3 + 2 = 121. Concatenations, no sums.
    "DenseNet-121": ({"plain": 121}, {"relu": 121}, 0),
    # Every convolution has a ReLU. Stem 5; A x 3 of 1 + 2 + 3 + 1 = 7; B of 1 + 3 = 4; C x 4 of 1 + 3 + 5 + 1 = 10;
    # D of 2 + 4 = 6; E x 2 of 1 + 3 + 4 + 1 = 9: 5 + 21 + 4 + 40 + 6 + 18 = 94. The auxiliary head is for training.
    "Inception v3": ({"plain": 94}, {"relu": 94}, 0),
    # 12 blocks of two sums, around attention and around the perceptron; only the latter has an activation.
    "ViT": ({"in a branch": 12}, {"gelu": 12}, 24),
    # ResNet-50 with, in each of the 16 branches, squeeze and excitation: one more ReLU and a sigmoid that is a gate.
    "SE-ResNet-50": (
        {"plain": 1, "in a branch": 48, "after a sum": 16, "gate": 16},
        {"relu": 65, "sigmoid": 16},
        16,
    ),
}
"""Sites by kind, sites by operation, junctions."""


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_those_made_by_hand(name: str) -> None:
    kinds, operations, junctions = COUNTS[name]
    surrogate = captured(name)
    assert Counter(site.kind for site in surrogate.sites) == kinds
    assert Counter(site.op for site in surrogate.sites) == operations
    assert len(surrogate.junctions) == junctions
    assert [site.index for site in surrogate.sites] == list(range(len(surrogate.sites)))
    assert [junction.index for junction in surrogate.junctions] == list(range(junctions))
    assert all(junction.closed for junction in surrogate.junctions)


@pytest.mark.slow
def test_the_blocks_of_a_resnet50() -> None:
    """16 blocks, named; only the first of each stage has a projection; two sites in each branch, in their order."""
    surrogate = captured("ResNet-50")
    names = [f"layer{stage + 1}.{block}" for stage, blocks in enumerate((3, 4, 6, 3)) for block in range(blocks)]
    assert [junction.module_path for junction in surrogate.junctions] == names
    projected = [junction.module_path for junction in surrogate.junctions if not junction.skip_is_identity]
    assert projected == ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]
    for at, junction in enumerate(surrogate.junctions):
        inside = (1 + 3 * at, 2 + 3 * at)
        assert junction.sites == inside
        assert [surrogate.sites[index].junction for index in inside] == [at, at]
        assert {surrogate.sites[index].module_path for index in (*inside, 3 + 3 * at)} == {f"{names[at]}.relu"}
        assert surrogate.sites[3 + 3 * at].kind == "after a sum"
        assert surrogate.sites[3 + 3 * at].junction is None
        assert junction.fork_path == (f"{names[at - 1]}.relu" if at else "maxpool")


@pytest.mark.slow
def test_the_branches_of_a_squeeze_and_excitation_network() -> None:
    """Three sites in each branch: the gate is in it too, but no rule counts it."""
    surrogate = captured("SE-ResNet-50")
    assert all(len(junction.sites) == 3 for junction in surrogate.junctions)
    gates = [site for site in surrogate.sites if site.kind == "gate"]
    assert {site.op for site in gates} == {"sigmoid"}
    assert {site.shape[1:] for site in gates} == {(1, 1)}
    assert [site.junction for site in gates] == list(range(16))
