"""Each flag is raised by a victim, a surrogate or data that have the fault, and not without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from fitted_networks import Fitted, fitted, write_patterned

import linbp
from linbp.audit.audit_suite import DRAFT, read_audit_suite
from linbp.audit.result import Audit
from linbp.audit.run_audit import run_audit
from linbp.errors import ModelError


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patterned(tmp_path_factory.mktemp("doubted"), 40)


class Service:
    """A black-box model of the user's own: the network 1, or something like it."""

    name, dtype = "service", torch.float64

    def identity(self) -> dict[str, str]:
        return {"name": self.name}

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        return fitted(1).logits(images)


class Forgetful(Service):
    """Its answers depend on how often it was asked."""

    def __init__(self) -> None:
        self.draw = torch.Generator().manual_seed(0)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        scores = super().logits(images)
        return scores + 6 * torch.randn(scores.shape, generator=self.draw, dtype=scores.dtype)


class Swapped(Service):
    """It takes blue for red: the preprocessing is not that of its training."""

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        return super().logits(images.flip(1))


class Startled(Service):
    """It gives up where neighbouring pixels differ a little more than in clean images."""

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        rough = (images[..., 1:] - images[..., :-1]).abs().mean((1, 2, 3), keepdim=True)[:, 0, 0]
        scores = super().logits(images)
        return torch.where(rough > 0.112, scores.roll(1, dims=1), scores)


def audited(victim: Any, photos: Path, out: Path, *surrogates: linbp.Model, **options: Any) -> Audit:
    settings = {"eps": ["16/255"], "budget": 30, **options}
    return run_audit(victim, photos, out / "run", surrogates=surrogates or [fitted(0)], **settings)


def kinds(audit: Audit, *, serious: bool | None = None) -> set[str]:
    return {flag.kind for flag in audit.flags if serious in (None, flag.serious)}


def test_a_sound_audit_has_no_serious_doubts(photos: Path, tmp_path: Path) -> None:
    found = audited(Service(), photos, tmp_path)
    assert kinds(found) == {"few-images"}


def test_a_suite_that_may_still_change_says_so(photos: Path, tmp_path: Path) -> None:
    shipped = read_audit_suite("exposure-own-1")
    suite = shipped.model_copy(update={"version": DRAFT}).model_dump(mode="json", exclude_none=True)
    (tmp_path / "mine.toml").write_text(tomli_w.dumps(suite))
    found = audited(Service(), photos, tmp_path, suite=str(tmp_path / "mine.toml"))
    assert kinds(found) == {"few-images", "draft-suite"}


def test_a_victim_that_answers_differently_when_it_is_asked_twice(photos: Path, tmp_path: Path) -> None:
    assert "unsteady" in kinds(audited(Forgetful(), photos, tmp_path), serious=True)
    trusted = audited(Forgetful(), photos, tmp_path / "trusted", trust_victim=True)
    assert "unsteady" not in kinds(trusted)


def test_a_victim_with_wrong_preprocessing_is_far_less_accurate_than_others(photos: Path, tmp_path: Path) -> None:
    found = audited(Swapped(), photos, tmp_path, trust_labels=True)
    assert found.victim.clean.value is not None
    assert found.victim.clean.value < 0.6
    assert "clean-accuracy" in kinds(found, serious=True)


def test_of_a_network_whose_preprocessing_can_be_tried_the_right_one_is_named(photos: Path, tmp_path: Path) -> None:
    wrong = fitted(1)
    wrong.mean, wrong.std = (0.9,) * 3, (0.05,) * 3
    with pytest.raises(ModelError) as caught:
        audited(wrong, photos, tmp_path, trust_labels=True)
    assert "trained on" in caught.value.message
    assert not list((tmp_path / "run").rglob("attacks"))


def test_noise_that_does_as_well_as_the_attack(photos: Path, tmp_path: Path) -> None:
    found = audited(Startled(), photos, tmp_path)
    assert found.headline.noise is not None
    assert found.headline.noise.value is not None
    assert found.headline.noise.value > 0.8
    assert "noise" in kinds(found, serious=True)


def test_a_surrogate_whose_classes_differ(photos: Path, tmp_path: Path) -> None:
    other = linbp.Model(Fitted(8, 99), input_size=(3, 16, 16), mean=0.5, name="untrained")
    found = audited(Service(), photos, tmp_path, other, trust_labels=True)
    assert "surrogate-classes" in kinds(found, serious=True)


def test_an_attack_that_fails_on_its_own_surrogate(photos: Path, tmp_path: Path) -> None:
    found = audited(Service(), photos, tmp_path, eps=["2/255"])  # too little for the surrogate itself
    assert (found.headline.best.own.value or 0) < 0.5
    assert "weak-attack" in kinds(found, serious=True)
    enough = audited(Service(), photos, tmp_path / "enough")
    assert (enough.headline.best.own.value or 0) > 0.5
    assert "weak-attack" not in kinds(enough)
