"""Where a position begins: by index, by fraction, by module path; and what is said when it begins nowhere."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional

from linbp import LinBP, Model, Surrogate
from linbp.errors import RuleError
from linbp.graph import first_site


class Block(nn.Module):
    """Three layers: convolution, norm, and a functional activation that no module of its own holds."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.norm(self.conv(value)))


class Network(nn.Module):
    """Sites: 0 in `stem`, 1 to 3 in `stages.0.0`, `stages.0.1`, `stages.1.0`, 4 in `head.1`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.stages = nn.Sequential(nn.Sequential(Block(4, 4), Block(4, 4)), nn.Sequential(Block(4, 6)))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 5))
        self.unused = nn.ReLU()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.pool(self.stages(self.stem(images))).flatten(1))
        return logits


@functools.cache
def surrogate(fold: bool = True) -> Surrogate:
    return Surrogate(Model(Network().double().eval(), input_size=(3, 8, 8)), fold_batch_norm=fold, cache=False)


POSITIONS: list[tuple[int | float | str, int]] = [
    (0, 0),
    (4, 4),
    (0.0, 0),
    (0.2, 1),
    (0.5, 2),
    (0.99, 4),
    ("", 0),  # the network itself
    ("stem", 0),
    ("stem.0", 0),  # a convolution: the first site behind it
    ("stem.1", 0),
    ("stages", 1),
    ("stages.0", 1),
    ("stages.0.0.norm", 1),
    ("stages.0.1", 2),
    ("stages.0.1.conv", 2),
    ("stages.1", 3),
    ("stages.1.0.norm", 3),  # folded away, and still a position
    ("pool", 4),
    ("head", 4),
    ("head.0", 4),
    ("head.1", 4),
]


@pytest.mark.parametrize("fold", [True, False], ids=["folded", "unfolded"])
@pytest.mark.parametrize(("position", "index"), POSITIONS)
def test_a_position_means_one_site(position: int | float | str, index: int, fold: bool) -> None:
    assert first_site(position, surrogate(fold).structure) == index
    plan = surrogate(fold).with_rule(LinBP(start=position)).plan
    assert sorted(plan.sites) == list(range(index, 5))


WRONG: list[tuple[object, str, str]] = [
    (5, "5.*0 to 4", "inspect"),
    (-1, "no site -1", "inspect"),
    (1.0, "outside", "0.5"),
    (-0.1, "outside", "0.5"),
    (float("nan"), "outside", "0.5"),
    (True, "not a position", "index"),
    ((), "not a position", "module path"),
    ("stages.2", "'stages.2'", "stages.0, stages.1"),
    ("stages.0.2.conv", "'stages.0.2.conv'", "stages.0.0, stages.0.1"),
    ("stage", "'stage'", "stages"),
    ("unused", "'unused'", "stem"),  # there, but the forward pass does not run it
    ("head.2", "'head.2'", "head.1"),
]


@pytest.mark.parametrize(("position", "message", "hint"), WRONG)
def test_a_position_that_matches_nothing_says_what_there_is(position: object, message: str, hint: str) -> None:
    with pytest.raises(RuleError, match=message) as caught:
        surrogate().with_rule(LinBP(start=position))  # type: ignore[arg-type]
    assert any(part in caught.value.hint for part in (hint, hint.replace("\\", "")))


def test_module_paths_of_sites_are_those_of_the_users_module() -> None:
    paths = [site.module_path for site in surrogate().sites]
    assert paths == ["stem.1", "stages.0.0", "stages.0.1", "stages.1.0", "head.1"]
    assert [site.op for site in surrogate().sites] == ["relu"] * 4 + ["gelu"]
    assert [site.shape for site in surrogate().sites] == [(4, 8, 8)] * 3 + [(6, 8, 8), (8,)]


class Looped(nn.Module):
    """One block called three times: a position in it is its first call."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.again = nn.Conv2d(3, 4, 3, padding=1), Block(4, 4)
        self.head = nn.Linear(4, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = functional.relu(self.stem(images))
        for _ in range(3):
            value = self.again(value)
        logits: torch.Tensor = self.head(value.mean((2, 3)))
        return logits


def test_a_module_that_is_called_several_times_begins_at_its_first_call() -> None:
    looped = Surrogate(Model(Looped().double().eval(), input_size=(3, 8, 8)), cache=False)
    assert [site.module_path for site in looped.sites] == ["", "again", "again", "again"]
    assert first_site("again", looped.structure) == 1
    assert sorted(looped.with_rule(LinBP(start="again")).plan.sites) == [1, 2, 3]
