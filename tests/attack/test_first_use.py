"""Parts of other packages are looked at when they are first used: refused, named, and not looked at twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_networks import images_and_labels, tiny

import linbp
from linbp import registry
from linbp.attack import AttackConfig, Context, Transform, Update
from linbp.attack.gradients import StageGradients
from linbp.attack.job.craft_folder import craft_folder
from linbp.data.image_list import ImageRecord
from linbp.data.images import write_png
from linbp.errors import ModelError, RecipeError
from linbp.graph import Plan, Structure
from linbp.randomness import Draws
from linbp.registry import part

MODEL = linbp.Surrogate(tiny())
IMAGES, LABELS = images_and_labels(8)


@pytest.fixture(autouse=True)
def _parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten after it, and torch's generator is as before."""
    for kind, known in registry._registry.items():
        monkeypatch.setitem(registry._registry, kind, dict(known))
    with torch.random.fork_rng(devices=[]):
        yield


def transform(change: Any) -> str:
    """A recipe with a transform that is a function of images, context and draws."""

    @part("transform", "mine")
    class Mine(Transform):
        """Changes the image."""

        def apply(self, images: torch.Tensor, context: Context, draws: Draws, copy: int) -> torch.Tensor:
            changed: torch.Tensor = change(images, context, draws)
            return changed

    return "mine + mi"


def craft(recipe: str, count: int = 4, **settings: Any) -> torch.Tensor:
    return linbp.craft(MODEL, IMAGES[:count], LABELS[:count], recipe, eps="4/255", steps=4, **settings)


def seeded(images: torch.Tensor, context: Context, draws: Draws) -> torch.Tensor:
    torch.manual_seed(3)
    return images + 0.1 * torch.rand_like(images[:1])


def fail(images: torch.Tensor, context: Context, draws: Draws) -> torch.Tensor:
    raise KeyError("a fault of its own")


BROKEN = {
    "torch.rand": (lambda images, context, draws: images + 0.2 * torch.rand_like(images), "each time"),
    "numpy": (lambda images, context, draws: images * np.random.uniform(0.5, 1), "each time"),
    "the batch's mean": (lambda images, context, draws: 3 * images - 2 * images.mean(), "other images of a batch"),
    "the batch's order": (
        lambda images, context, draws: images.roll(images.shape[0] - 1, -1),
        "other images of a batch",
    ),
    "a seed": (seeded, "global random generator"),
    "an error": (fail, "KeyError"),
    "no gradient": (lambda images, context, draws: images.detach(), "RuntimeError"),
    "another shape": (lambda images, context, draws: images[:, :2], "Error"),
}


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("count", [1, 4])
def test_a_part_that_breaks_a_promise_is_refused_with_its_name(fault: str, count: int) -> None:
    change, reason = BROKEN[fault]
    recipe = transform(change)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[union-attr, index]
    with pytest.raises(RecipeError, match=reason) as caught:
        craft(recipe, count)
    assert "Mine" in caught.value.message
    assert "linbp.testing" in caught.value.hint or "draws" in caught.value.hint
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # type: ignore[union-attr, index]


def test_it_is_used_all_the_same_where_that_is_said_by_name() -> None:
    recipe = transform(BROKEN["the batch's mean"][0])
    whole = craft(recipe, trust_parts=True)
    assert not torch.equal(craft(recipe, batch_size=1, trust_parts=True), whole)


def sound(images: torch.Tensor, context: Context, draws: Draws) -> torch.Tensor:
    return images + draws.uniform("mine", images, 0.2)


def test_a_sound_part_is_looked_at_once_and_changes_nothing() -> None:
    recipe = transform(sound)
    unseen = craft(recipe, trust_parts=True)
    taken = []
    plain = StageGradients._gradient

    def noted(self: StageGradients, images: torch.Tensor, *rest: Any) -> torch.Tensor:
        taken.append(len(images))
        return plain(self, images, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StageGradients, "_gradient", noted)
        assert torch.equal(craft(recipe), unseen)
        first = sum(taken)
        taken.clear()
        assert torch.equal(craft(recipe), unseen)
    assert sum(taken) == 4 * 4
    assert (first - sum(taken)) / (64 * 20) < 0.01  # of a job of 64 images and 20 steps
    transform(sound)  # a cell that is run again is another class
    with pytest.MonkeyPatch.context() as patch:
        taken.clear()
        patch.setattr(StageGradients, "_gradient", noted)
        craft(recipe)
    assert sum(taken) == first


def test_parts_of_linbp_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    from linbp.attack import first_use

    monkeypatch.setattr(first_use, "attack_batch", None)
    assert len(craft("linbp(start=0) + di(scale=1.5) + mi"))


class Wandering:
    """A rule that no recipe can name, and that draws."""

    def plan(self, structure: Structure) -> Plan:
        return Plan(branches={one.index: wander for one in structure.junctions})


def wander(gradient: torch.Tensor, branch: Any) -> torch.Tensor:
    found: torch.Tensor = branch.ordinary_gradient(gradient)
    return found * torch.rand_like(found)


def test_a_rule_of_the_surrogate_is_looked_at_too() -> None:
    ruled = MODEL.with_rule(Wandering())
    with pytest.raises(RecipeError, match=r"Wandering.*each time"):
        linbp.craft(ruled, IMAGES[:2], LABELS[:2], "mi", eps="4/255", steps=3)


@pytest.mark.parametrize(
    "settings", [{"norm": "l2", "eps": 1.0}, {"eps": ["4/255", "6/255", "8/255"]}, {"targets": [1, 2, 3]}, {"seed": 5}]
)
def test_it_follows_the_settings_of_the_attack(settings: dict[str, Any]) -> None:
    recipe = transform(sound)
    given = {"eps": "4/255", "steps": 3, **settings}
    assert torch.isfinite(linbp.craft(MODEL, IMAGES[:3], (LABELS[:3] + 4) % 7, recipe, **given)).all()


def test_a_part_that_leads_to_nan_is_refused_at_its_images() -> None:
    """Also where the first image is fine, at which the parts are looked at."""

    @part("update", "unguarded")
    class Unguarded(Update):
        """Divides by zero."""

        def bind(self, context: Context) -> Any:
            return Divided(context.goal.labels)

    class Divided:
        def __init__(self, labels: torch.Tensor) -> None:
            self.labels = labels

        def look_ahead(self, images: torch.Tensor) -> torch.Tensor:
            return images

        def direction(self, gradient: torch.Tensor) -> torch.Tensor:
            return gradient / (self.labels == LABELS[0]).view(-1, 1, 1, 1).to(gradient)

    with pytest.raises(ModelError, match=r"unguarded leads to values that are NaN") as caught:
        linbp.craft(MODEL, IMAGES, LABELS, "unguarded", norm="l2", eps=1.0, steps=2)
    assert "8 images" in caught.value.message


def test_a_job_looks_too_and_says_where_it_did_not(tmp_path: Path) -> None:
    records = []
    for number in range(3):
        write_png(tmp_path / f"{number}.png", IMAGES[number].permute(1, 2, 0).numpy())
        records.append(ImageRecord(image_id=str(number), path=tmp_path / f"{number}.png", label=int(LABELS[number])))
    config = AttackConfig.resolve(transform(BROKEN["torch.rand"][0]), steps=2)
    with pytest.raises(RecipeError, match="each time"):
        craft_folder(MODEL, records, tmp_path / "out", config, trust_labels=True)
    assert not (tmp_path / "out").exists()
    craft_folder(MODEL, records, tmp_path / "out", config, trust_labels=True, trust_parts=True)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [note for note in manifest["notes"] if "not checked" in note and "Mine" in note]
    assert manifest["runs"][0]["trust_parts"] is True
