"""How long steps are, radii that differ in nothing, and images that nothing moves: computed, refused or noted."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from certain_network import build, dark_and_bright
from tiny_networks import images_and_labels, tiny

import linbp
from linbp.attack import AttackConfig
from linbp.attack.published_protocols import find_protocol
from linbp.errors import LinbpError, LinbpWarning, RecipeError

COUNT = 3
SURROGATE = linbp.Surrogate(tiny())


def sizes(recipe: str = "ifgsm", **settings: Any) -> list[tuple[float, ...]]:
    """The steps of each stage, in levels."""
    found = AttackConfig.resolve(recipe, **settings).step_sizes
    return [tuple(round(255 * size, 9) for size in stage) for stage in found]


def crafted(recipe: str = "ifgsm", **settings: Any) -> torch.Tensor:
    """The change of each image in levels."""
    images, labels = images_and_labels(COUNT)
    return (linbp.craft(SURROGATE, images, labels, recipe, **settings) * 255).round() - images


def said(recipe: str = "ifgsm", **settings: Any) -> list[str]:
    """What Python is told while it crafts."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        crafted(recipe, **settings)
    return [str(one.message) for one in caught if issubclass(one.category, LinbpWarning)]


@pytest.mark.parametrize(
    ("settings", "levels"),
    [
        ({"eps": "8/255", "steps": 50}, 1),
        ({"eps": "8/255", "steps": 8}, 1),
        ({"eps": "8/255", "steps": 5}, 1.6),
        ({"eps": "16/255", "steps": 10}, 1.6),
        ({"eps": "16/255", "steps": 1}, 16),
        ({"eps": 0.03, "steps": 7}, 1),  # of 7.65 levels 7 are allowed
        ({"eps": 0.03, "steps": 5}, 1.4),
        ({"eps": 0.03, "steps": 5, "rounding": "nearest"}, 1.53),
        ({"eps": 1.0, "steps": 100}, 2.55),
        *(({"eps": f"{radius}/255", "steps": radius}, 1) for radius in range(1, 256, 11)),
    ],
)
def test_the_default_step_reaches_the_radius(settings: dict[str, Any], levels: float) -> None:
    assert sizes(**settings) == sizes(step_size="auto", **settings) == [(pytest.approx(levels),)]


def test_where_1_255_reaches_the_radius_the_default_is_that_bit_for_bit() -> None:
    for radius in range(1, 256):
        for steps in (radius, radius + 1, 2 * radius):
            assert AttackConfig.resolve("ifgsm", eps=f"{radius}/255", steps=steps).step_sizes == ((1 / 255,),)


def test_a_stage_with_steps_of_its_own_has_its_own_step_size() -> None:
    assert sizes("mi >> ila(at=blocks.0, steps=4)", eps="8/255", steps=20) == [(1,), (2,)]
    assert sizes("mi >> ila(at=blocks.0, steps=4)", eps="8/255", steps=20, step_size="1/255") == [(1,), (1,)]
    assert sizes("fgsm >> ila(at=blocks.0, steps=4)", eps="8/255", steps=20) == [(8,), (2,)]
    assert sizes("mi >> ila(at=blocks.0, steps=5)", eps=2.0, steps=20, norm="l2") == [(63.75,), (255,)]
    assert crafted("mi >> ila(at=blocks.0, steps=4)", eps="8/255", steps=20).abs().amax((1, 2, 3)).tolist() == [8] * 3


def test_each_image_has_the_step_of_its_own_radius() -> None:
    assert sizes(eps=["8/255", "16/255", "2/255"], steps=4, images=3) == [(2, 4, 1)]
    assert sizes("fgsm", eps=["8/255", "16/255"], images=2) == [(8, 16)]
    assert sizes("mi", norm="l2", eps=[1.0, 2.0], images=2) == [(0.05 * 255, 0.1 * 255)]
    together = crafted(eps=["8/255", "16/255", "2/255"], steps=4)
    for row, radius in enumerate((8, 16, 2)):
        assert torch.equal(together[row], crafted(eps=f"{radius}/255", steps=4)[row])
        assert together[row].abs().max() == radius


def test_a_sweep_of_radii_is_one() -> None:
    """At every number of steps, and in L2: a larger radius gives other images, with the default step."""
    for steps in (1, 3, 5, 12, 40):
        assert not torch.equal(crafted(eps="8/255", steps=steps), crafted(eps="16/255", steps=steps)), steps
    assert not torch.equal(crafted(eps=1.0, steps=3, norm="l2"), crafted(eps=2.0, steps=3, norm="l2"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"eps": "8/255", "steps": 5, "step_size": "1/255"}, ["5 steps of 1/255", "5/255", "8/255", "--step-size"]),
        ({"eps": "8/255", "steps": 1, "step_size": "1/255"}, ["1 step of 1/255"]),
        ({"eps": "16/255", "steps": 20, "step_size": "0.5/255"}, ["20 steps of 0.5/255", "10/255", "16/255"]),
        ({"eps": ["4/255", "16/255", "8/255"], "steps": 8, "step_size": "1/255"}, ["16/255", "1 of 3 images"]),
        ({"eps": 2.0, "steps": 4, "step_size": 0.25, "norm": "l2"}, ["4 steps of 0.25", "at most 1 ", "is 2:"]),
        (
            {"recipe": "mi >> ila(at=blocks.0, steps=5)", "eps": "6/255", "steps": 9, "step_size": "1/255"},
            ["5 steps of 1/255", "6/255"],
        ),
        (
            {"recipe": "random-start(radius=0.1)", "eps": "10/255", "steps": 2, "step_size": "1/255"},
            ["2 steps of 1/255", "start"],
        ),
        ({"eps": 0.03, "steps": 7}, ["0.03", "7.65/255", "7/255", "8/255"]),
        ({"recipe": "fgsm", "eps": 0.03}, ["7.65/255"]),
        ({"eps": "4/255", "steps": 3, "step_size": "16/255"}, ["16/255", "4/255", "longer"]),
    ],
)
def test_what_a_radius_does_not_do_is_said(settings: dict[str, Any], words: list[str]) -> None:
    (note,) = said(**settings)
    assert all(word in note for word in words), note


@pytest.mark.parametrize(
    "settings",
    [
        {"eps": "8/255", "steps": 5},
        {"eps": "8/255", "steps": 5, "step_size": "auto"},
        {"eps": "6/255", "steps": 6, "step_size": "1/255"},
        {"eps": "6/255", "steps": 3, "step_size": "2/255"},
        {"recipe": "pgd", "eps": "6/255", "steps": 3, "step_size": "1/255"},
        {"recipe": "fgsm", "eps": "6/255"},
        {"eps": 2.0, "steps": 1, "norm": "l2"},
        {"eps": 0.03, "steps": 8, "rounding": "nearest"},
    ],
)
def test_where_all_is_well_nothing_is_said(settings: dict[str, Any]) -> None:
    assert said(**settings) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"eps": "8/255", "steps": 5, "step_size": "0.05/255"}, "0.25/255"),
        ({"eps": "8/255", "steps": 400, "step_size": "0.001/255"}, "0.4/255"),
        ({"eps": 1.0, "steps": 2, "step_size": 1e-4, "norm": "l2"}, "take"),
        ({"eps": "8/255", "steps": 4, "step_size": "0.0001/255", "rounding": "truncate"}, "0.0004/255"),
        ({"eps": 1e-7, "rounding": "truncate"}, "thousandth"),
        ({"eps": 0.4 / 255, "norm": "l2", "rounding": "nearest"}, "half a level"),
        ({"eps": "0.9/255"}, "1/255"),
        ({"eps": 1.2}, "whole range"),
        ({"eps": "8"}, "8/255"),
        ({"eps": "8/255", "step_size": 3}, "whole range"),
        ({"eps": "8/255", "step_size": 0}, "step_size"),
        ({"eps": "8/255", "step_size": "fast"}, "fast"),
        ({"eps": "8/255", "steps": 0}, "steps"),
    ],
)
def test_settings_that_can_change_no_image_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(LinbpError) as caught:
        AttackConfig.resolve("ifgsm", **settings)
    assert words in str(caught.value)
    assert caught.value.hint


def test_one_step_of_the_whole_radius_takes_auto_and_no_number() -> None:
    assert sizes("fgsm", eps="4/255", step_size="auto") == sizes("fgsm", eps="4/255") == [(4,)]
    with pytest.raises(RecipeError, match="fgsm takes one step"):
        sizes("fgsm", eps="4/255", step_size="1/255")


def test_a_protocol_keeps_its_step_and_refuses_an_auto_that_is_another() -> None:
    paper, framework = find_protocol("linbp-2020-imagenet"), find_protocol("transferattack")
    assert sizes("mi", protocol=paper) == sizes("mi", protocol=paper, step_size="auto") == [(1,)]
    assert sizes("mi", protocol=framework, step_size="auto", steps=10) == [(pytest.approx(1.6),)]
    with pytest.raises(RecipeError, match="step-size"):
        sizes("mi", protocol=framework, step_size="auto", steps=300)


@pytest.mark.parametrize("recipe", ["ifgsm", "pgd", "mi", "noise + fgsm"])
def test_images_without_a_gradient_are_counted(recipe: str) -> None:
    with pytest.warns(LinbpWarning, match=r"^2 of 5 images had a gradient of 0"):
        linbp.craft(build(), dark_and_bright(), [0, 0, 0, 1, 2], recipe, eps="4/255", batch_size=2)
